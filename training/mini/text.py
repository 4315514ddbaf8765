"""Stage `text`: SDXL's first text tower learns what its words look like, before any picture is drawn.

From the states that the UNet will attend to, a small head draws a named thing's silhouette and lines, told
where it sits: a UNet's work without the noise. It reads them as a UNet does, by cross-attention from the
cells of a grid, so that shapes lie in the states in a form that the UNet can read. What that one then has to
learn is one way of drawing for all things, and not each thing by itself. The head does not ship.
"""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.layouts import Layouts
from instantstyle.synthetic.render import distances, grid
from instantstyle.synthetic.things import fields
from training.mini.clip import Towers, reading
from training.mini.frozen import Clip
from training.mini.settings import TOWER_1
from training.mini.stage import Scalar, Stage
from training.mini.words import describe, tokens

CELLS, POINTS = 8, 4  # cells a side, as the UNet's finest attention has; points a side of each
WAVES = 4  # octaves in which a cell's place is told
WIDTH, HEADS = 128, 4

States = Float[Tensor, "caption word hidden"]
Places = Float[Tensor, "scene cell number"]


class Sketcher(nn.Module):
    """Cells of a picture, each with its place on the thing, draw what the words' states say of it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.ask = nn.Sequential(nn.Linear(6 + 4 * WAVES, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, kdim=hidden, vdim=hidden, batch_first=True)
        self.draw = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, 2 * POINTS**2)
        )

    def forward(self, states: States, places: Places) -> Float[Tensor, "scene cell point"]:
        asked = self.ask(places)
        return self.draw(asked + self.attend(asked, states, states, need_weights=False)[0])


class TextStage(Stage[nn.ModuleDict]):
    """Goes on from the tower that `clip` has trained, with the heads that tell a caption's facts."""

    def __init__(self, folder: Path, name: str = "text") -> None:
        self.name, self.module = name, with_heads(Clip(folder).towers)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        captions = describe(scenes, generator, thing=0.95, layout=0.3, look=0.6)
        out = self.module["tower"](tokens(captions.words), output_hidden_states=True)
        said = reading(self.module["facts"], out.text_embeds, captions.facts, captions.named)
        drawn = self.module["sketcher"](out.hidden_states[-2], places(scenes.layout))
        wrong = F.binary_cross_entropy_with_logits(drawn, cells(scenes), reduction="none").mean((1, 2))
        named = captions.named[:, 0]
        sketched = wrong[named].mean()
        return 10 * sketched + said, dict(sketched=sketched.detach(), said=said.detach())


def with_heads(towers: Towers) -> nn.ModuleDict:
    """The first text tower with the heads that tell what it has learnt, all to be trained."""
    sketcher = Sketcher(TOWER_1["hidden_size"])
    module = nn.ModuleDict({"tower": towers.text_1, "facts": towers.facts, "sketcher": sketcher})
    return module.requires_grad_(True)


def places(layouts: Layouts) -> Places:
    """Each cell's middle on its scene's first thing, in waves too; where a step across and one down lead."""
    down, across = (axis.flatten() for axis in grid(CELLS, layouts.x.device))
    moved = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)]
    middle, right, low = (torch.stack(layouts.on_thing(0, across + x, down + y), -1) for x, y in moved)
    octaves = torch.pi * 2.0 ** torch.arange(-1, WAVES - 1)
    waves = (middle[..., None] * octaves).flatten(2)
    return torch.cat([middle, right - middle, low - middle, waves.sin(), waves.cos()], -1)


def cells(scenes: Scenes) -> Float[Tensor, "scene cell point"]:
    """How far the points of each cell lie inside silhouette and lines of the scene's first thing, 0..1."""
    one = scenes.layout.present & (torch.arange(scenes.layout.present.shape[1]) == 0)
    alone = replace(scenes.layout, present=one)
    inside = torch.stack(distances(fields(scenes.thing.device)[scenes.thing], alone, CELLS * POINTS), 1)
    return F.unfold(torch.sigmoid(inside * 2 * CELLS * POINTS / 3), POINTS, stride=POINTS).transpose(1, 2)
