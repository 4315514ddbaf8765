"""Generate images for held-out pairs: references that show one object, prompts that request others."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from instantstyle import InstantStyle, Style
from instantstyle.metrics import SyntheticScores, score_synthetic
from instantstyle.synthetic import MINI_SCOPE, Scenes, describe_thing, sample_scenes, to_pil_image
from instantstyle.unet.blocks import BlockSpec
from training.mini.abstract_images import render_abstract_images
from training.mini.settings import IMAGE_SIZE


@dataclass(frozen=True)
class Pairs:
    """References and the objects to request with them.

    Attributes:
        scenes: What the references show.
        things: Object classes requested with each reference; never the one it shows.
        seed: Seed of the references' pixels and of generation.
    """

    scenes: Scenes
    things: Int[Tensor, "reference requested"]
    seed: int

    @classmethod
    def sample(cls, references: int, requested: int, seed: int) -> "Pairs":
        """Sample pairs.

        Args:
            references: Number of held-out references.
            requested: Number of different objects requested with each.
            seed: Seed; each one samples other references.

        Returns:
            The pairs.
        """
        generator = Generator().manual_seed(seed)
        scenes = sample_scenes(references, generator, MINI_SCOPE, held_out=True)
        order = torch.rand(references, MINI_SCOPE.things, generator=generator)
        order[torch.arange(references), scenes.thing] = 2.0
        return cls(scenes, order.argsort(1)[:, :requested], seed)

    @property
    def references(self) -> Int[Tensor, " image"]:
        """The number of the reference of each generated image."""
        return torch.arange(len(self.things)).repeat_interleave(self.things.shape[1])

    @property
    def pixels(self) -> Float[Tensor, "reference 3 size size"]:
        """The references."""
        return self.scenes.render(IMAGE_SIZE, Generator().manual_seed(self.seed))

    @property
    def abstract_pixels(self) -> Float[Tensor, "reference 3 size size"]:
        """Abstract images in the references' colours, from outside the synthetic dataset."""
        return render_abstract_images(self.scenes.look, IMAGE_SIZE, Generator().manual_seed(self.seed))


@dataclass(frozen=True)
class Arm:
    """One configuration to compare.

    Attributes:
        blocks: Blocks that receive the reference; None generates without a reference.
        content_scale: Amount of content removal.
        abstract: Whether the reference is an abstract image in the same colours.
        with_prompt: False sends an empty prompt, so that the reference alone determines the image.
    """

    blocks: BlockSpec | None
    content_scale: float = 0.0
    abstract: bool = False
    with_prompt: bool = True


def generate_images(
    styled: InstantStyle, pairs: Pairs, arm: Arm, **arguments: Any
) -> Float[Tensor, "image 3 height width"]:
    """Generate the images of all pairs with one arm; the seeds are the same in every arm.

    Args:
        styled: The model.
        pairs: References and requested objects.
        arm: The configuration.
        arguments: Further arguments of the call.

    Returns:
        RGB in 0..1.
    """
    images = [
        generate_for_reference(styled, style, pairs.things[row].tolist(), arm, pairs.seed + 1000 * row, **arguments)
        for row, style in enumerate(encode_styles(styled, pairs, arm))
    ]
    return torch.cat(images)


def encode_styles(styled: InstantStyle, pairs: Pairs, arm: Arm) -> list[Style | None]:
    """Encode each reference, with its content if the arm removes content; None without a reference."""
    if arm.blocks is None:
        return [None] * len(pairs.things)
    pixels = pairs.abstract_pixels if arm.abstract else pairs.pixels
    plain = [styled.style(to_pil_image(image)) for image in pixels]
    if not arm.content_scale:
        return [*plain]
    encoder = styled.text_encoder
    assert encoder, "the second text encoder of the bundled model shares the image encoder's space"
    contents = [[describe_thing(thing)] for thing in pairs.scenes.thing.tolist()]
    return [
        style.with_content(content, encoder.embed(content), arm.content_scale)
        for style, content in zip(plain, contents, strict=True)
    ]


def generate_for_reference(
    styled: InstantStyle, style: Style | None, things: list[int], arm: Arm, seed: int, **arguments: Any
) -> Float[Tensor, "image 3 height width"]:
    """Generate one reference's images, with a seed for each requested object."""
    conditioning = {} if style is None else dict(style=style, blocks=arm.blocks)
    prompts = [describe_thing(thing) if arm.with_prompt else "" for thing in things]
    out = styled(prompts, seed=seed, output_type="pt", **conditioning, **arguments)
    return out.images.float().cpu()


def score_images(images: Float[Tensor, "image 3 height width"], pairs: Pairs) -> SyntheticScores:
    """Score the images of all pairs with the classifier."""
    return score_synthetic(images, pairs.things.flatten(), pairs.scenes[pairs.references])


ARMS = {
    "no reference": Arm(None),
    "all blocks": Arm("all"),
    "style blocks": Arm("style"),
    "style blocks, content removed": Arm("style", content_scale=0.5),
    "layout blocks": Arm("layout"),
    "style and layout blocks": Arm("style+layout"),
    "style blocks, a picture of no thing": Arm("style", abstract=True),
    "all blocks, no words": Arm("all", with_prompt=False),
}
"""The arms by their names in `results/table.json`."""
