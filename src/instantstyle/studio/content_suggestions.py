"""Suggestions for the content of a reference image, in phrases that the bundled model knows."""

import torch.nn.functional as F
from PIL import Image

from ..core.pipeline import InstantStyle
from ..synthetic.vocabulary import list_thing_phrases


def find_closest_phrases(styled: InstantStyle, image: Image.Image, count: int) -> dict[str, float]:
    """Rank the phrases of the synthetic dataset by their similarity to an image.

    Both are embedded by the CLIP pair in whose space content is subtracted.

    Args:
        styled: A model with a text encoder.
        image: The reference image, RGB.
        count: Number of phrases to return.

    Returns:
        The phrases with the largest cosine similarity to the image, and these similarities (−1..1), in
        descending order.
    """
    assert styled.text_encoder is not None
    candidates = list_thing_phrases()
    image_embedding, _ = styled.reference_encoder.encode([image])
    similarities = F.cosine_similarity(image_embedding, styled.text_encoder.embed(candidates), dim=-1)
    best = similarities.topk(count)
    return {
        candidates[index]: round(similarity, 2)
        for index, similarity in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    }
