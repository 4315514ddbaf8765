"""The discriminator of stage `adversarial`: whether latents are those of an image that its caption describes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.mini.captions import ATTRIBUTES
from training.mini.nested_unet import LatentBatch
from training.mini.pyramid import Features, Pyramid
from training.mini.settings import LATENT_CHANNELS

WIDTHS, BLOCKS = (48, 96, 160), (2, 2, 2)
HIDDEN_WIDTH, CONDITION_WIDTH = 384, 128


@dataclass(frozen=True)
class Judgement:
    """What the discriminator says of a batch of latents.

    Attributes:
        scores: Above 0 where latents look like those of rendered images that match the captions: by image, one score
            for each cell of each level.
        logits: By attribute of `ATTRIBUTES`, a logit for each class.
    """

    scores: list[Float[Tensor, "image cell"]]
    logits: dict[str, Float[Tensor, "image class"]]


class LatentDiscriminator(nn.Module):
    """Scores every cell of three levels of features, and classifies the attributes of the image.

    The caption enters as a projection (arXiv 1802.05637) of the attributes that it states; the classes of the
    attributes are an auxiliary task (arXiv 1610.09585).
    """

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid(nn.Conv2d(LATENT_CHANNELS, WIDTHS[0], 3, padding=1), WIDTHS, BLOCKS)
        self.hidden = nn.Linear(self.pyramid.pooled_width, HIDDEN_WIDTH)
        counts = {name: len(classes) for name, classes in ATTRIBUTES.items()}
        self.classifiers = nn.ModuleDict({name: nn.Linear(HIDDEN_WIDTH, count) for name, count in counts.items()})
        self.embeddings = nn.ModuleList(nn.Embedding(count, CONDITION_WIDTH) for count in counts.values())
        self.projections = nn.ModuleList(nn.Linear(CONDITION_WIDTH, width) for width in WIDTHS)
        self.scorers = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in WIDTHS)

    def forward(
        self, latents: LatentBatch, labels: Int[Tensor, "image attribute"], stated: Bool[Tensor, "image attribute"]
    ) -> Judgement:
        """Score and classify latents.

        Args:
            latents: Latents of unit variance.
            labels: Class of each attribute, in the order of `ATTRIBUTES`.
            stated: Which attributes the caption states; the scores depend on no others.
        """
        features = self.pyramid(latents)
        hidden = F.silu(self.hidden(self.pyramid.pool(features)))
        logits = {name: classify(hidden).float() for name, classify in self.classifiers.items()}
        return Judgement(self._score(features, labels, stated), logits)

    def _score(self, features: Features, labels: Tensor, stated: Tensor) -> list[Float[Tensor, "image cell"]]:
        embedded = [embed(labels[:, number]) for number, embed in enumerate(self.embeddings)]
        condition = (torch.stack(embedded, 1) * stated[:, :, None]).sum(1)
        scores = []
        for level, scorer, project in zip(features, self.scorers, self.projections, strict=True):
            cells = F.silu(level)
            direction = project(condition).to(cells.dtype)
            matching = torch.einsum("bwyx,bw->byx", cells, direction) / cells.shape[1] ** 0.5
            scores.append((scorer(cells)[:, 0] + matching).flatten(1).float())
        return scores
