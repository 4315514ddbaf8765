"""Generate images from recipes: the one path behind the command line, server, studio and batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..recipe import Combine, Crop, Recipe, Reference
from ..unet.probe_file import resolve_block_spec
from ..utils.versions import library_versions
from .callbacks import OnPreview, OnStep, step_callback
from .hints import warn_of_content
from .idle_fields import check_seeds
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.conditioning import StyleConditioning
    from ..core.pipeline import InstantStyle
    from ..core.protocols import Pipeline, PipelineArguments
    from ..core.style import Style


def generate(
    styled: "InstantStyle",
    recipe: Recipe,
    *,
    count: int = 1,
    on_step: OnStep | None = None,
    on_preview: OnPreview | None = None,
    sources: SourceCache | None = None,
) -> Iterator[tuple[Image.Image, Recipe]]:
    """Generate images from a recipe, with seeds counting up.

    Each image is a call of its own rather than one batch: its pixels then do not depend on the others, large
    images need no more memory, and a finished image can be stored before the next one starts.

    Args:
        styled: The model, as `load_for` loads it.
        recipe: The recipe of the first image. Field `blocks` may name a probe file.
        count: Number of images.
        on_step: Called after each step.
        on_preview: Called after each step with a function that decodes the latents.
        sources: Cache with the files that `validate` decoded.

    Yields:
        The image, and its complete recipe: seed, and everything the model chose, filled in.

    Raises:
        InstantStyleError: The recipe does not fit the model, or a file cannot be read.
    """
    check_seeds(recipe, count)
    prepared = prepare(styled, recipe, sources)
    for seed in range(recipe.seed, recipe.seed + count):
        yield from prepared.generate([recipe.replace(seed=seed)], on_step, on_preview)


@dataclass(frozen=True, eq=False)
class PreparedRecipe:
    """A model with everything encoded that recipes share which differ in prompt and seed alone.

    Attributes:
        styled: The model.
        recipe: The recipe, without probe files in `blocks`.
        style: The style of `references`; None without references.
        conditionings: What the model is called with: the style in its blocks, and the style of
            `layout_references` in the layout blocks.
        image_arguments: Arguments of an image-to-image pipeline; empty without `image`.
    """

    styled: "InstantStyle"
    recipe: Recipe
    style: "Style | None"
    conditionings: "Sequence[StyleConditioning]"
    image_arguments: "PipelineArguments"

    def generate(
        self, recipes: Sequence[Recipe], on_step: OnStep | None = None, on_preview: OnPreview | None = None
    ) -> list[tuple[Image.Image, Recipe]]:
        """Generate several images in one call.

        Args:
            recipes: Recipes of which `prompt` and `seed` are used. Each image has its own noise; beside
                others it may differ by rounding from the same image alone.
            on_step: Called after each step.
            on_preview: Called after each step with a function that decodes the latents.

        Returns:
            Images with their complete recipes, in the order of `recipes`.

        Raises:
            InstantStyleError: The recipe does not fit the model, or an image came out black.
        """
        from torch import Generator

        recipes = [self.recipe.replace(prompt=recipe.prompt, seed=recipe.seed) for recipe in recipes]
        output = self.styled(
            [recipe.prompt for recipe in recipes],
            style=self.conditionings or None,
            generator=[Generator("cpu").manual_seed(recipe.seed) for recipe in recipes],
            callback_on_step_end=step_callback(on_step, on_preview),
            **self.image_arguments,
            **_pipeline_arguments(self.recipe, len(recipes)),
        )
        return [
            (image, _complete(recipe, self.styled, self.style, image))
            for image, recipe in zip(output.images, recipes, strict=True)
        ]


def prepare(styled: "InstantStyle", recipe: Recipe, sources: SourceCache | None = None) -> PreparedRecipe:
    """Encode the references of a recipe and resolve its blocks.

    Args:
        styled: The model.
        recipe: The recipe.
        sources: Cache with the files that `validate` decoded.

    Returns:
        The part of the work that does not depend on prompt and seed.

    Raises:
        InstantStyleError: A file cannot be read, or the recipe does not fit the model.
    """
    from ..core.conditioning import StyleConditioning

    warn_of_content(styled, recipe)
    sources = SourceCache() if sources is None else sources
    recipe = recipe.replace(blocks=resolve_block_spec(recipe.blocks, styled.architecture))
    style = _encode(styled, recipe.references, recipe.crop, sources, recipe.combine)
    if style and (recipe.content or recipe.content_scale is not None or recipe.removal):
        # The recipe of an image records a scale also where nothing is removed.
        removes = recipe.content or style.content or "clean" in (recipe.removal, style.removal)
        style = styled.style(
            style,
            content=list(recipe.content) or None,
            content_scale=recipe.content_scale if removes or recipe.content_scale == "auto" else None,
            removal=recipe.removal,
        )
    negative = _encode(styled, recipe.negative_references, recipe.crop, sources)
    layout = _encode(styled, recipe.layout_references, recipe.crop, sources)
    settings = {
        "scale": recipe.scale,
        "start": recipe.start,
        "end": recipe.end,
        "mask": sources.read_mask(recipe.mask) if recipe.mask else None,
    }
    conditionings: list[StyleConditioning] = []
    if style:
        conditionings.append(StyleConditioning(style, recipe.blocks, negative_style=negative, **settings))
    if layout:
        conditionings.append(StyleConditioning(layout, "layout", **settings))
    image_arguments = _image_arguments(styled.pipe, recipe, sources)
    return PreparedRecipe(styled, recipe, style, conditionings, image_arguments)


def _encode(
    styled: "InstantStyle",
    references: Sequence[Reference],
    crop: Crop,
    sources: SourceCache,
    combine: Combine | None = None,
) -> "Style | None":
    """Make one style of references, named after their files; weights count where `combine` is given."""
    if not references:
        return None
    names = [Path(reference.name).name for reference in references]
    decoded = [sources.read(reference) for reference in references]
    weights = [reference.weight for reference in references] if combine else None
    combine = combine or "average"
    if all(isinstance(source, Image.Image) for source in decoded):
        return replace(styled.style(decoded, crop=crop, weights=weights, combine=combine), name=" + ".join(names))
    # A mix depends on the names of its parts, so each image gets that of its file first.
    styles = [
        replace(styled.style(source, crop=crop), name=name) if isinstance(source, Image.Image) else source
        for source, name in zip(decoded, names, strict=True)
    ]
    return styled.style(styles, weights=weights, combine=combine)


def _image_arguments(pipe: "Pipeline", recipe: Recipe, sources: SourceCache) -> "PipelineArguments":
    """Return what an image-to-image pipeline needs of the image to start from."""
    if recipe.image is None:
        return {}
    from ..imaging.control_image import canny_edges, resize_to_area

    # Side in pixels of the square images that the network was trained on.
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    image = resize_to_area(sources.read_image(recipe.image), side)
    strength = {} if recipe.strength is None else {"strength": recipe.strength}
    control = {"control_image": canny_edges(image)} if recipe.control == "canny" else {}
    return {"image": image, **strength, **control}


def _pipeline_arguments(recipe: Recipe, count: int) -> "PipelineArguments":
    """Return the pipeline's arguments; what the recipe leaves open is left out, so that defaults apply."""
    # An image-to-image pipeline takes the size from the image.
    height, width = (None, None) if recipe.image else (recipe.height, recipe.width)
    arguments = {
        "negative_prompt": [recipe.negative_prompt] * count if recipe.negative_prompt else None,
        "num_inference_steps": recipe.num_inference_steps,
        "guidance_scale": recipe.guidance_scale,
        "guidance_interval": recipe.guidance_interval,
        "height": height,
        "width": width,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _complete(recipe: Recipe, styled: "InstantStyle", style: "Style | None", image: Image.Image) -> Recipe:
    """Fill in what the model chose, because a later release may choose differently."""
    # Not `pipe.num_timesteps`: an image-to-image pipeline runs only a part of the steps it is given.
    default_steps = signature(styled.pipe.__call__).parameters["num_inference_steps"].default
    return recipe.replace(
        num_inference_steps=recipe.num_inference_steps or styled.defaults.get("num_inference_steps", default_steps),
        guidance_scale=styled.pipe.guidance_scale,
        content_scale=style.content_scale if style else None,
        removal=style.removal if style else None,
        height=image.height,
        width=image.width,
        scheduler=type(styled.pipe.scheduler).__name__,
        dtype=str(styled.pipe.unet.dtype).removeprefix("torch."),
        versions=library_versions(),
    )
