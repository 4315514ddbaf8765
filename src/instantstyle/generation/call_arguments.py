"""Arguments of a call of the model that a recipe's image, colours and numbers give."""

from typing import TYPE_CHECKING

from ..recipe import Recipe
from .request_checks import check_colours
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..core.protocols import Pipeline, PipelineArguments

DEFAULT_FRAMES = 16
"""Number of frames of an animation, that of the videos which AnimateDiff's motion modules are trained on."""


def default_steps(styled: "InstantStyle") -> int:
    """Return the number of steps of an image whose recipe has none."""
    from ..core.pipeline_checks import default_argument

    return styled.defaults.get("num_inference_steps", default_argument(styled.pipe, "num_inference_steps"))


def default_size(styled: "InstantStyle") -> tuple[int, int]:
    """Return width and height in px of an image whose recipe has neither, and no image to start from."""
    from ..core.prompt_checks import find_own_size

    own = find_own_size(styled.pipe)
    # Without it, diffusers' pipelines have no default either.
    assert own is not None
    return styled.defaults.get("width", own[0]), styled.defaults.get("height", own[1])


def model_side(pipe: "Pipeline") -> int:
    """Return the side in px of the square images that the network was trained on."""
    from ..core.prompt_checks import find_own_size

    own = find_own_size(pipe)
    # Pipelines that are styled name a size.
    assert own is not None
    return own[0]


def image_arguments(pipe: "Pipeline", recipe: Recipe, sources: SourceCache) -> "PipelineArguments":
    """Return what an image-to-image pipeline needs of the image to start from.

    Raises:
        ImageError: The image cannot be read, or a side would be longer than any image has.
    """
    if recipe.image is None:
        return {}
    from ..core.pipeline_checks import supported_arguments
    from ..imaging.control_image import control_arguments, resize_image

    image = resize_image(sources.read_image(recipe.image), model_side(pipe), recipe.width, recipe.height)
    if recipe.inversion:
        return {"inversion": image, **control_arguments(image, recipe.control, "image")}
    # A pipeline with a ControlNet would take the model's own size, whatever that of the image is.
    size = supported_arguments(pipe, {"height": image.height, "width": image.width})
    strength = {} if recipe.strength is None else {"strength": recipe.strength}
    control = control_arguments(image, recipe.control, "control_image")
    return {"image": image, **strength, **control, **size}


def colour_arguments(recipe: Recipe, sources: SourceCache) -> "PipelineArguments":
    """Return the argument that gives the colours of an image to the latents."""
    if not recipe.colour_transfer or not (recipe.colour_image or recipe.references):
        return {}
    from ..core.latent_colours import INTERVAL, LatentColours

    [file] = [recipe.colour_image] if recipe.colour_image else recipe.references
    check_colours(recipe, sources)
    start, end = recipe.colour_transfer_interval or INTERVAL
    return {"latent_colours": LatentColours(sources.read_image(file), recipe.colour_transfer, start, end)}


def pipeline_arguments(recipe: Recipe, count: int) -> "PipelineArguments":
    """Return the pipeline's arguments; what the recipe leaves open is left out, so that defaults apply."""
    # An image-to-image pipeline takes the size from the image.
    height, width = (None, None) if recipe.image else (recipe.height, recipe.width)
    # Without a negative prompt, pipelines with true_cfg_scale leave it out; an empty one is one.
    has_negative = recipe.negative_prompt or (recipe.true_cfg_scale or 0) > 1
    arguments = {
        "negative_prompt": [recipe.negative_prompt] * count if has_negative else None,
        "num_inference_steps": recipe.num_inference_steps,
        "guidance_scale": recipe.guidance_scale,
        "true_cfg_scale": recipe.true_cfg_scale,
        "guidance_interval": recipe.guidance_interval,
        "height": height,
        "width": width,
        "num_frames": (recipe.frames or DEFAULT_FRAMES) if recipe.motion_adapter else None,
    }
    return {name: value for name, value in arguments.items() if value is not None}
