"""From a recipe to pictures: the one room behind every door (command, server, batch)."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from . import __version__
from .architectures import ARCHITECTURES
from .errors import JobError
from .images import open_reference
from .library import find
from .recipe import Recipe, Reference

if TYPE_CHECKING:
    from .models.plan import Plan
    from .pipeline import InstantStyle
    from .style import Style
    from .use import Use

OnStep = Callable[[int, int], None]
"""Told after each step: steps done of this picture, steps in all."""

_BESIDE_OURS = ("torch", "diffusers", "transformers")


def check(recipe: Recipe) -> None:
    """What can be refused at once, before the seconds that loading a model takes."""
    for reference in _styles(recipe):
        check_reference(reference.name)
    for picture in filter(None, (recipe.mask, recipe.image)):
        open_reference(picture.name)
    if recipe.start > recipe.end:
        raise JobError(f"The style would begin at {recipe.start:g} of the steps and end at {recipe.end:g}.")
    for architecture in ARCHITECTURES:
        if architecture.name == recipe.model:
            architecture.select(recipe.blocks)


def load_for(recipe: Recipe, device: str | None = None) -> "InstantStyle":
    """The model that the recipe names, ready on the device; by default on a GPU where there is one.

    Without adapter and image encoder, where all of its styles are bound for the model.
    """
    plain = is_plain(recipe)
    styled = opened(recipe.model, recipe.adapter, recipe.image_encoder, device, plain=plain)
    from .models import from_picture

    return from_picture(styled, recipe.control) if recipe.image else styled


def opened(
    model: str,
    adapter: str | None,
    image_encoder: str | None,
    device: str | None,
    *,
    plain: bool = False,
) -> "InstantStyle":
    """A model on the device; by default on a GPU where there is one. `plain`: without adapter and encoder."""
    device = _device(device)
    from .models import load

    return load(model, adapter=adapter, image_encoder=image_encoder, plain=plain, device=device)


def is_plain(recipe: Recipe) -> bool:
    """Whether the plain model will do, as each style of the recipe is bound for its family."""
    groups = [recipe.references, recipe.layout_references, recipe.negative_references]
    names = [reference.name for reference in _styles(recipe)]
    if recipe.adapter or recipe.image_encoder or recipe.content or not names or not all(map(find, names)):
        return False
    from .models.plan import architecture_of

    family = architecture_of(recipe.model)
    styles = [_mixed(group) for group in groups if group]
    styles[0] = styles[0].tuned(recipe.content_scale, recipe.removal) if recipe.references else styles[0]
    return family is not None and all(style.binding(family.name) is not None for style in styles)


def plan_for(recipe: Recipe, device: str | None = None) -> "Plan":
    """What `load_for` would load and drawing would read, without loading it."""
    device = _device(device)
    from .models.plan import plan

    return plan(
        recipe.model,
        adapter=recipe.adapter,
        image_encoder=recipe.image_encoder,
        blocks=recipe.blocks,
        device=device,
        plain=is_plain(recipe),
    )


def draw(
    styled: "InstantStyle", recipe: Recipe, *, count: int = 1, on_step: OnStep | None = None
) -> Iterator[tuple[Image.Image, Recipe]]:
    """`count` pictures, seeds counting up, each with the recipe that makes it again.

    One call each, not one batch: a picture is the same either way, large ones need no more memory, and what
    is drawn is out of harm's way before the next begins.
    """
    style = _style(styled, recipe)
    uses = _uses(styled, recipe, style)
    begun = _begun(styled, recipe)
    for seed in range(recipe.seed, recipe.seed + count):
        out = styled(
            recipe.prompt,
            style=uses or None,
            seed=seed,
            callback_on_step_end=_callback(on_step),
            **begun,
            **_pipeline_arguments(recipe),
        )
        yield out.images[0], _completed(recipe.but(seed=seed), styled, style, out.images[0])


def versions() -> dict[str, str]:
    """The releases that a picture depends on."""
    return {"instantstyle": __version__, **{name: version(name) for name in _BESIDE_OURS}}


def _device(wanted: str | None) -> str:
    here = _devices()
    if wanted not in (None, *here):
        raise JobError(f"There is no device {wanted} here; there is {', '.join(here)}.")
    return wanted or here[0]


def _devices() -> list[str]:
    """What can draw here, the fastest first."""
    from torch import backends, cuda

    cards = ["cuda", *(f"cuda:{number}" for number in range(cuda.device_count()))]
    apple = ["mps"] if backends.mps.is_available() else []
    return [*(cards if cuda.is_available() else []), *apple, "cpu"]


def _styles(recipe: Recipe) -> list[Reference]:
    """All whose style or layout is wanted or not wanted: pictures and saved styles."""
    return [*recipe.references, *recipe.layout_references, *recipe.negative_references]


def check_reference(name: str | Path) -> None:
    """What is neither a picture nor a saved style that can be read is refused."""
    if find(name) is None:
        open_reference(name)
        return
    from .style import Style

    Style.load(name)


def _mixed(references: tuple[Reference, ...]) -> "Style":
    """Saved styles as `InstantStyle.style` makes one of them."""
    from .style import Style

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


def _uses(styled: "InstantStyle", recipe: Recipe, style: "Style | None") -> "list[Use]":
    """The style in its blocks, and another picture's layout in the layout blocks."""
    from .use import Use

    def seen(references: tuple[Reference, ...]) -> "Style | None":
        names = [reference.name for reference in references]
        return styled.style(names, crop=recipe.crop) if names else None

    where: dict[str, Any] = {"scale": recipe.scale, "start": recipe.start, "end": recipe.end}
    where |= {"mask": recipe.mask and recipe.mask.name}
    away, layout = seen(recipe.negative_references), seen(recipe.layout_references)
    uses = [Use(style, recipe.blocks, negative=away, **where)] if style else []
    return [*uses, Use(layout, "layout", **where)] if layout else uses


def _begun(styled: "InstantStyle", recipe: Recipe) -> dict[str, Any]:
    """What a pipeline that begins from a picture is given of it."""
    if recipe.image is None:
        return {}
    from .structure import as_large_as_drawn, edges

    photo = as_large_as_drawn(open_reference(recipe.image.name), _side(styled.pipe))
    strength = {} if recipe.strength is None else {"strength": recipe.strength}
    control = {"control_image": edges(photo)} if recipe.control == "canny" else {}
    return {"image": photo, **strength, **control}


def _side(pipe: Any) -> int:
    """Of the square picture that the network was trained on, in pixels."""
    return pipe.unet.config.sample_size * pipe.vae_scale_factor


def _pipeline_arguments(recipe: Recipe) -> dict[str, Any]:
    """Those that the recipe leaves open stay out, so that the model's own choice holds."""
    named = {
        "negative_prompt": recipe.negative_prompt or None,
        "num_inference_steps": recipe.num_inference_steps,
        "guidance_scale": recipe.guidance_scale,
        "height": recipe.height,
        "width": recipe.width,
    }
    return {name: value for name, value in named.items() if value is not None}


def _callback(on_step: OnStep | None) -> Any:
    def tell(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if on_step:
            on_step(step + 1, pipe.num_timesteps)
        return tensors

    return tell


def _completed(recipe: Recipe, styled: "InstantStyle", style: "Style | None", image: Image.Image) -> Recipe:
    """The model's own choices written in: they may be others in a later release."""
    return recipe.but(
        num_inference_steps=styled.pipe.num_timesteps,
        guidance_scale=styled.pipe.guidance_scale,
        content_scale=style.content_scale if style else None,
        removal=style.removal if style else None,
        height=image.height,
        width=image.width,
        scheduler=type(styled.pipe.scheduler).__name__,
        versions=versions(),
    )
