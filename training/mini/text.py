"""Stage `text`: SDXL's first text encoder learns the shapes that its words name, before the UNet is trained.

From the hidden states that the UNet attends to, a small head predicts the silhouette and the lines of the
named object, given its position: the work of a UNet without noise. It reads the states as a UNet does, by
cross-attention from the cells of a grid, so that the states represent shapes in a form that the UNet can
read. The UNet then has to learn one way of rendering for all object classes instead of each class separately.
The head is not exported.
"""

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.layouts import Layouts
from instantstyle.synthetic.render import pixel_grid, signed_distances
from instantstyle.synthetic.things import load_shape_fields
from training.mini.captions import sample_captions, tokenize
from training.mini.clip import ClipModels, attribute_loss
from training.mini.frozen_models import FrozenClip
from training.mini.settings import TEXT_ENCODER_1
from training.mini.stage import Scalar, Stage

CELLS, POINTS = 8, 4  # cells a side, as in the UNet's finest attention, and points a side of each cell
OCTAVES = 4  # octaves of the sinusoids that encode a cell's position
WIDTH, HEADS = 128, 4

States = Float[Tensor, "caption token hidden"]
Positions = Float[Tensor, "scene cell number"]


class ShapeHead(nn.Module):
    """Predicts the shape inside each cell of an image from the cell's position and the caption's states."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.ask = nn.Sequential(nn.Linear(6 + 4 * OCTAVES, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, kdim=hidden, vdim=hidden, batch_first=True)
        self.draw = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, 2 * POINTS**2)
        )

    def forward(self, states: States, positions: Positions) -> Float[Tensor, "scene cell point"]:
        """Return logits of `shape_coverage`."""
        queries = self.ask(positions)
        return self.draw(queries + self.attend(queries, states, states, need_weights=False)[0])


class TextStage(Stage[nn.ModuleDict]):
    """Continues from the first text encoder of stage `clip`, with the attribute heads."""

    def __init__(self, folder: Path, name: str = "text") -> None:
        self.name, self.module = name, build_text_module(FrozenClip(folder).models)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Cross-entropies of the shapes, where the caption names the object, and of the attributes."""
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        captions = sample_captions(scenes, generator, thing=0.95, layout=0.3, look=0.6)
        out = self.module["tower"](tokenize(captions.texts), output_hidden_states=True)
        heads = cast(nn.ModuleDict, self.module["facts"])
        attributes = attribute_loss(heads, out.text_embeds, captions.labels, captions.stated)
        logits = self.module["sketcher"](out.hidden_states[-2], cell_positions(scenes.layout))
        error = F.binary_cross_entropy_with_logits(logits, shape_coverage(scenes), reduction="none")
        shapes = error.mean((1, 2))[captions.stated[:, 0]].mean()
        return 10 * shapes + attributes, dict(shapes=shapes.detach(), attributes=attributes.detach())


def build_text_module(models: ClipModels) -> nn.ModuleDict:
    """Combine the first text encoder, the attribute heads and a new shape head into one trainable module."""
    head = ShapeHead(TEXT_ENCODER_1["hidden_size"])
    module = nn.ModuleDict({"tower": models.text_1, "facts": models.facts, "sketcher": head})
    return module.requires_grad_(True)


def cell_positions(layouts: Layouts) -> Positions:
    """Return the position of each cell relative to its scene's first object.

    Returns:
        For each cell its centre in the object's coordinates (2), the offsets of half a step to the right and
        down (4), then sines and cosines of the centre in `OCTAVES` octaves.
    """
    down, across = (axis.flatten() for axis in pixel_grid(CELLS, layouts.x.device))
    offsets = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)]
    centre, right, low = (torch.stack(layouts.to_thing_coordinates(0, across + x, down + y), -1) for x, y in offsets)
    octaves = torch.pi * 2.0 ** torch.arange(-1, OCTAVES - 1)
    waves = (centre[..., None] * octaves).flatten(2)
    return torch.cat([centre, right - centre, low - centre, waves.sin(), waves.cos()], -1)


def shape_coverage(scenes: Scenes) -> Float[Tensor, "scene cell point"]:
    """Return how far the points of each cell lie inside silhouette and lines of the first object, 0..1."""
    first = scenes.layout.present & (torch.arange(scenes.layout.present.shape[1]) == 0)
    alone = replace(scenes.layout, present=first)
    inside = torch.stack(
        signed_distances(load_shape_fields(scenes.thing.device)[scenes.thing], alone, CELLS * POINTS), 1
    )
    return F.unfold(torch.sigmoid(inside * 2 * CELLS * POINTS / 3), POINTS, stride=POINTS).transpose(1, 2)
