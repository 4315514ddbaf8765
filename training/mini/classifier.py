"""Stage `judge`: tell thing, layout and look from pixels, also of pictures that the autoencoder drew."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.metrics import SyntheticClassifier, facts_of
from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.render import distances
from instantstyle.synthetic.things import fields
from training.mini.clip import jitter
from training.mini.frozen import Latents, as_seen
from training.mini.precision import quick
from training.mini.settings import PICTURE, SEEN
from training.mini.stage import Scalar, Stage, total

WEIGHTS = {"ground": 3, "fill": 3}  # the faintest facts, and the last to be learnt
THROUGH = 8  # one picture in so many goes through the autoencoder, as all that is judged did


class JudgeStage(Stage[SyntheticClassifier]):
    def __init__(self, folder: Path, name: str = "judge") -> None:
        self.name, self.module = name, SyntheticClassifier()
        self.latents = Latents(folder)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        # Held-out kinds too: a judge that has never met them learns that they do not occur.
        scenes = sample_scenes(batch, generator, MINI_SCOPE, held_out=None)
        some = batch // THROUGH
        drawn = self.latents.decode(self.latents.encode(scenes[:some].pictures(PICTURE, generator)))
        pictures = torch.cat([as_seen(drawn), scenes[some:].pictures(SEEN, generator)])
        with quick():
            seen = self.module(jitter(pictures, generator))
        facts = facts_of(scenes)
        wrong = total(
            WEIGHTS.get(name, 1) * F.cross_entropy(seen.facts[name].float(), shown)
            for name, shown in facts.items()
        )
        palette = F.mse_loss(seen.palette.float(), scenes.look.palette)
        right = {name: (seen[name] == shown).float().mean() for name, shown in facts.items()}
        outlined = F.binary_cross_entropy_with_logits(seen.inside.float(), insides(scenes))
        return wrong + 20 * palette + 3 * outlined, dict(palette=palette.detach(), **right)


def insides(scenes: Scenes) -> Float[Tensor, "scene 16 16"]:
    """How far each cell lies inside the thing, 0..1."""
    shape, _ = distances(fields(scenes.thing.device)[scenes.thing], scenes.layout, 16)
    return torch.sigmoid(shape * 20)
