"""What a reference shows, in the model's own words: a proposal, to be taken or left."""

import torch.nn.functional as F
from PIL import Image

from ..core.pipeline import InstantStyle
from ..synthetic.vocabulary import phrases


def closest(styled: InstantStyle, image: Image.Image, count: int) -> list[str]:
    """The phrases whose embeddings have the largest cosines with the picture's, the closest first.

    Both come from the CLIP pair in whose space content is taken out.
    """
    assert styled.text_encoder is not None
    words = phrases()
    seen, _ = styled.reference_encoder.encode([image])
    cosines = F.cosine_similarity(seen, styled.text_encoder.embed(words), dim=-1)
    return [words[place] for place in cosines.topk(count).indices.tolist()]
