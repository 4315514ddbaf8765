"""From a recipe to pictures: the one room behind every door (command, server, batch)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import __version__
from ..core.style_library import find_style_file
from ..errors import JobError
from ..imaging.loading import open_reference
from ..recipe import Recipe, Reference
from ..unet.architectures import ARCHITECTURES
from ..unet.probe_file import resolve_block_spec
from ..utils.device import pick_device
from .callbacks import OnPreview, OnStep, step_callback

if TYPE_CHECKING:
    from ..core.conditioning import StyleConditioning
    from ..core.pipeline import InstantStyle
    from ..core.style import Style
    from ..models.load_plan import Plan

_BESIDE_OURS = ("torch", "diffusers", "transformers")


def validate(*recipes: Recipe) -> None:
    """What can be refused at once, before the seconds that loading a model takes."""
    for name in dict.fromkeys(reference.name for recipe in recipes for reference in _styles(recipe)):
        validate_reference(name)
    pictures = [picture for recipe in recipes for picture in (recipe.mask, recipe.image) if picture]
    for name in dict.fromkeys(picture.name for picture in pictures):
        open_reference(name)
    for recipe in recipes:
        if recipe.start > recipe.end:
            raise JobError(
                f"The style would begin at {recipe.start:g} of the steps and end at {recipe.end:g}."
            )
        validate_blocks(recipe.blocks, recipe.model)
        if recipe.removal == "clean" and recipe.content:
            raise JobError("Removal by clean reads no words, and content names some; leave one of them out.")


def validate_blocks(blocks: Any, model: str) -> None:
    """A probe's file that cannot be read is refused; where a family is named, blocks that it has not."""
    resolve_block_spec(blocks)
    for architecture in ARCHITECTURES:
        if architecture.name == model:
            architecture.select(blocks)


def load_for(
    recipe: Recipe, *others: Recipe, device: str | None = None, plain: bool | None = None
) -> "InstantStyle":
    """The model that the recipes name, ready on the device; by default on a GPU where there is one.

    Without adapter and image encoder, where all of their styles are bound for the model; `plain` says so
    where the styles' files are not at hand.
    """
    plain = all(map(is_plain, (recipe, *others))) if plain is None else plain
    parts = recipe.model, recipe.adapter, recipe.image_encoder
    styled = load_model(*parts, device, plain=plain, dtype=recipe.dtype)
    from ..models import image_to_image_pipeline

    return image_to_image_pipeline(styled, recipe.control) if recipe.image else styled


def load_model(
    model: str,
    adapter: str | None,
    image_encoder: str | None,
    device: str | None,
    *,
    plain: bool = False,
    dtype: str | None = None,
) -> "InstantStyle":
    """A model on the device; by default on a GPU where there is one. `plain`: without adapter and encoder.

    `dtype`: a recipe's name for the numbers; by default what is best on the device.
    """
    device = pick_device(device)
    import torch

    from ..models import load

    numbers = getattr(torch, dtype) if dtype else None
    return load(
        model, adapter=adapter, image_encoder=image_encoder, plain=plain, device=device, dtype=numbers
    )


def is_plain(recipe: Recipe) -> bool:
    """Whether the plain model will do, as each style of the recipe is bound for its family."""
    groups = [recipe.references, recipe.layout_references, recipe.negative_references]
    names = [reference.name for reference in _styles(recipe)]
    scale = recipe.content_scale
    if isinstance(scale, str) or recipe.adapter or recipe.image_encoder or recipe.content:
        return False
    if not names or not all(map(find_style_file, names)):
        return False
    from ..models.load_plan import architecture_of

    family = architecture_of(recipe.model)
    styles = [_mixed(group) for group in groups if group]
    styles[0] = styles[0].with_removal(scale, recipe.removal) if recipe.references else styles[0]
    return family is not None and all(style.bound_for(family.name) is not None for style in styles)


def plan_for(recipe: Recipe, device: str | None = None) -> "Plan":
    """What `load_for` would load and drawing would read, without loading it."""
    device = pick_device(device)
    from ..models.load_plan import plan

    return plan(
        recipe.model,
        adapter=recipe.adapter,
        image_encoder=recipe.image_encoder,
        blocks=recipe.blocks,
        device=device,
        plain=is_plain(recipe),
    )


def generate(
    styled: "InstantStyle",
    recipe: Recipe,
    *,
    count: int = 1,
    on_step: OnStep | None = None,
    on_look: OnPreview | None = None,
) -> Iterator[tuple[Image.Image, Recipe]]:
    """`count` pictures, seeds counting up, each with the recipe that makes it again.

    One call each, not one batch: a picture is then the same whatever is drawn beside it, large ones need no
    more memory, and what is drawn is out of harm's way before the next begins.
    """
    ready = prepare(styled, recipe)
    for seed in range(recipe.seed, recipe.seed + count):
        yield from ready.generate([recipe.but(seed=seed)], on_step, on_look)


@dataclass(frozen=True, eq=False)
class PreparedRecipe:
    """A model with all that recipes have in common which differ in prompt and seed alone, looked at once."""

    styled: "InstantStyle"
    recipe: Recipe
    style: "Style | None"
    uses: "Sequence[StyleConditioning]"
    begun: Mapping[str, Any]

    def generate(
        self, recipes: Sequence[Recipe], on_step: OnStep | None = None, on_look: OnPreview | None = None
    ) -> list[tuple[Image.Image, Recipe]]:
        """In one call. Each picture has its own noise; beside others it may differ by rounding."""
        from torch import Generator

        asked = [self.recipe.but(prompt=recipe.prompt, seed=recipe.seed) for recipe in recipes]
        out = self.styled(
            [recipe.prompt for recipe in asked],
            style=self.uses or None,
            generator=[Generator("cpu").manual_seed(recipe.seed) for recipe in asked],
            callback_on_step_end=step_callback(on_step, on_look),
            **self.begun,
            **_pipeline_arguments(self.recipe, len(asked)),
        )
        return [
            (image, _completed(recipe, self.styled, self.style, image))
            for image, recipe in zip(out.images, asked, strict=True)
        ]


def prepare(styled: "InstantStyle", recipe: Recipe) -> PreparedRecipe:
    """Its references seen, its blocks named."""
    recipe = recipe.but(blocks=styled.architecture.resolve_blocks(recipe.blocks))
    style = _style(styled, recipe)
    return PreparedRecipe(styled, recipe, style, _uses(styled, recipe, style), _begun(styled, recipe))


def versions() -> dict[str, str]:
    """The releases that a picture depends on."""
    return {"instantstyle": __version__, **{name: version(name) for name in _BESIDE_OURS}}


def _styles(recipe: Recipe) -> list[Reference]:
    """All whose style or layout is wanted or not wanted: pictures and saved styles."""
    return [*recipe.references, *recipe.layout_references, *recipe.negative_references]


def validate_reference(name: str | Path) -> None:
    """What is neither a picture nor a saved style that can be read is refused."""
    if find_style_file(name) is None:
        open_reference(name)
        return
    from ..core.style import Style

    Style.load(name)


def _mixed(references: tuple[Reference, ...]) -> "Style":
    """Saved styles as `InstantStyle.style` makes one of them."""
    from ..core.style import Style

    return Style.mix([(reference.name, reference.weight) for reference in references])


def _style(styled: "InstantStyle", recipe: Recipe) -> "Style | None":
    if not recipe.references:
        return None
    return styled.style(
        [reference.name for reference in recipe.references],
        weights=[reference.weight for reference in recipe.references],
        combine=recipe.combine,
        content=list(recipe.content) or None,
        content_scale=recipe.content_scale,
        removal=recipe.removal,
        crop=recipe.crop,
    )


def _uses(styled: "InstantStyle", recipe: Recipe, style: "Style | None") -> "list[StyleConditioning]":
    """The style in its blocks, and another picture's layout in the layout blocks."""
    from ..core.conditioning import StyleConditioning

    def seen(references: tuple[Reference, ...]) -> "Style | None":
        names = [reference.name for reference in references]
        return styled.style(names, crop=recipe.crop) if names else None

    where: dict[str, Any] = {"scale": recipe.scale, "start": recipe.start, "end": recipe.end}
    where |= {"mask": recipe.mask and recipe.mask.name}
    away, layout = seen(recipe.negative_references), seen(recipe.layout_references)
    uses = [StyleConditioning(style, recipe.blocks, negative_style=away, **where)] if style else []
    return [*uses, StyleConditioning(layout, "layout", **where)] if layout else uses


def _begun(styled: "InstantStyle", recipe: Recipe) -> dict[str, Any]:
    """What a pipeline that begins from a picture is given of it."""
    if recipe.image is None:
        return {}
    from ..imaging.control_image import canny_edges, resize_to_area

    photo = resize_to_area(open_reference(recipe.image.name), _side(styled.pipe))
    strength = {} if recipe.strength is None else {"strength": recipe.strength}
    control = {"control_image": canny_edges(photo)} if recipe.control == "canny" else {}
    return {"image": photo, **strength, **control}


def _side(pipe: Any) -> int:
    """Of the square picture that the network was trained on, in pixels."""
    return pipe.unet.config.sample_size * pipe.vae_scale_factor


def _pipeline_arguments(recipe: Recipe, count: int) -> dict[str, Any]:
    """Those that the recipe leaves open stay out, so that the model's own choice holds."""
    # What begins from a picture has that one's proportions.
    height, width = (None, None) if recipe.image else (recipe.height, recipe.width)
    named = {
        "negative_prompt": [recipe.negative_prompt] * count if recipe.negative_prompt else None,
        "num_inference_steps": recipe.num_inference_steps,
        "guidance_scale": recipe.guidance_scale,
        "guidance_interval": recipe.guidance_interval,
        "height": height,
        "width": width,
    }
    return {name: value for name, value in named.items() if value is not None}


def _steps(styled: "InstantStyle") -> int:
    """Where the caller says nothing; what begins from a picture takes only a share of them."""
    own = signature(styled.pipe.__call__).parameters["num_inference_steps"].default
    return styled.defaults.get("num_inference_steps", own)


def _completed(recipe: Recipe, styled: "InstantStyle", style: "Style | None", image: Image.Image) -> Recipe:
    """The model's own choices written in: they may be others in a later release."""
    return recipe.but(
        num_inference_steps=recipe.num_inference_steps or _steps(styled),
        guidance_scale=styled.pipe.guidance_scale,
        content_scale=style.content_scale if style else None,
        removal=style.removal if style else None,
        height=image.height,
        width=image.width,
        scheduler=type(styled.pipe.scheduler).__name__,
        dtype=str(styled.pipe.unet.dtype).removeprefix("torch."),
        versions=versions(),
    )
