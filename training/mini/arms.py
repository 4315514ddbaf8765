"""Drawing held-out pairs: references that show one thing, prompts that ask for others."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from instantstyle import InstantStyle, Style
from instantstyle.metrics import Scores, score
from instantstyle.synthetic import MINI_SCOPE, Scenes, as_image, sample_scenes, thing_words
from instantstyle.unet.blocks import Spec
from training.mini.paintings import paintings
from training.mini.settings import PICTURE


@dataclass(frozen=True)
class Pairs:
    """`things[i]` are asked for with the reference that `scenes[i]` shows; never the thing it shows."""

    scenes: Scenes
    things: Int[Tensor, "reference asked"]
    seed: int

    @classmethod
    def drawn(cls, references: int, asked: int, seed: int) -> "Pairs":
        """Held-out references, every seed its own; a thing is asked of each at most once."""
        generator = Generator().manual_seed(seed)
        scenes = sample_scenes(references, generator, MINI_SCOPE, held_out=True)
        order = torch.rand(references, MINI_SCOPE.things, generator=generator)
        order[torch.arange(references), scenes.thing] = 2.0
        return cls(scenes, order.argsort(1)[:, :asked], seed)

    @property
    def references(self) -> Int[Tensor, " picture"]:
        """Which reference each drawn picture belongs to."""
        return torch.arange(len(self.things)).repeat_interleave(self.things.shape[1])

    @property
    def pixels(self) -> Float[Tensor, "reference 3 size size"]:
        return self.scenes.pictures(PICTURE, Generator().manual_seed(self.seed))

    @property
    def painted(self) -> Float[Tensor, "reference 3 size size"]:
        """The same looks' colours in pictures of no thing, from outside the world."""
        return paintings(self.scenes.look, PICTURE, Generator().manual_seed(self.seed))


@dataclass(frozen=True)
class Arm:
    """One way of drawing: which blocks see the reference, and how much of its content is taken out."""

    blocks: Spec | None  # None: no reference
    content_scale: float = 0.0
    painted: bool = False  # the reference is a picture of no thing in the same colours
    words: bool = True  # False: nothing is asked for, so that the reference says all


def draw(
    styled: InstantStyle, pairs: Pairs, arm: Arm, **arguments: Any
) -> Float[Tensor, "picture 3 height width"]:
    """All pairs by one arm; the same seeds in every arm."""
    drawn = [
        draw_one(styled, style, pairs.things[row].tolist(), arm, pairs.seed + 1000 * row, **arguments)
        for row, style in enumerate(styles(styled, pairs, arm))
    ]
    return torch.cat(drawn)


def styles(styled: InstantStyle, pairs: Pairs, arm: Arm) -> list[Style | None]:
    """Each reference's style, told what it shows if the arm removes content."""
    if arm.blocks is None:
        return [None] * len(pairs.things)
    pictures = pairs.painted if arm.painted else pairs.pixels
    plain = [styled.style(as_image(picture)) for picture in pictures]
    if not arm.content_scale:
        return [*plain]
    reader = styled.text_encoder
    assert reader, "the bundled model's own text tower shares the image tower's space"
    names = [[thing_words(thing)] for thing in pairs.scenes.thing.tolist()]
    return [
        style.with_content(words, reader.embed(words), arm.content_scale)
        for style, words in zip(plain, names, strict=True)
    ]


def draw_one(
    styled: InstantStyle, style: Style | None, things: list[int], arm: Arm, seed: int, **arguments: Any
) -> Float[Tensor, "picture 3 height width"]:
    """One reference's pictures, a seed for each thing."""
    injection = {} if style is None else dict(style=style, blocks=arm.blocks)
    prompts = [thing_words(thing) if arm.words else "" for thing in things]
    out = styled(prompts, seed=seed, output_type="pt", **injection, **arguments)
    return out.images.float().cpu()


def scored(pictures: Float[Tensor, "picture 3 height width"], pairs: Pairs) -> Scores:
    return score(pictures, pairs.things.flatten(), pairs.scenes[pairs.references])


ARMS = {
    "no reference": Arm(None),
    "all blocks": Arm("all"),
    "style blocks": Arm("style"),
    "style blocks, content removed": Arm("style", content_scale=0.5),
    "layout blocks": Arm("layout"),
    "style and layout blocks": Arm("style+layout"),
    "style blocks, a picture of no thing": Arm("style", painted=True),
    "all blocks, no words": Arm("all", words=False),
}
