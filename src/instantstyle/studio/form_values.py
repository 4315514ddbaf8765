"""Values of the page's fields, and their conversion to a recipe."""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NotRequired, TypedDict

from ..errors import BlockError, JobError
from ..generation.idle_fields import drop_idle_fields
from ..generation.keep_content import KEEP_CONTENT
from ..recipe import FILE_FIELDS, INVERTIBLE, MODEL_FIELDS, SET_FIELDS, Recipe
from ..recipe_types import RecipeFields, Reference
from .image_store import ImageStore, resolve_library_style
from .settings import Settings

IMAGE, SAVED, MIX, RESTORED = "image", "saved", "mix", "restored"
"""Sources of the style. `RESTORED`: references of a restored recipe that no other source can represent."""

RESTORED_BLOCKS = "as in the image"
"""Value of `blocks` that stands for the blocks of the restored recipe, which have weights."""

# A role, a block name or a pattern of block names.
_BLOCK_WORD = re.compile(r"[A-Za-z_][\w.*?–-]*")


class UploadedFile(TypedDict):
    """A file as Gradio passes it to an event handler without preprocessing."""

    path: str
    """Where Gradio stored the file."""
    orig_name: NotRequired[str | None]
    """Name of the file on the user's machine."""


@dataclass(frozen=True)
class FormValues:
    """Values of the page's fields. Empty values mean the default of the model."""

    source: str = IMAGE
    image: UploadedFile | None = None
    saved: str | None = None
    first: str | None = None
    second: str | None = None
    share: float = 0.5
    """Weight of the second style in a mix, 0..1."""
    texture: UploadedFile | None = None
    """The image whose texture is used, with the colours of the style."""
    colour_scale: str = ""
    texture_scale: str = ""
    colour_transfer: str = ""
    """How far the latents get the colours of the reference, 0..1; they do not if it is empty."""
    colour_transfer_start: str = ""
    colour_transfer_end: str = ""
    content: Sequence[str] = ()
    content_image: UploadedFile | None = None
    """An image that shows the content, beside the words."""
    photo: UploadedFile | None = None
    """A photo that is drawn again in the style, from its inversion."""
    image_scale: str = ""
    """The scale at which the photo is a reference itself."""
    prompt: str = ""
    scale: float = 1.0
    blocks: str = "style"
    content_scale: str = ""
    removal: str = ""
    mask_quantile: str = ""
    """Shown with removal `mask`, and read with it alone."""
    crop: str = "center"
    start: float = 0.0
    end: float = 1.0
    fuse: str = "add"
    hold_layout: float = 0.0
    second_scale: float = 1.0
    """Shown where the studio has a second adapter, as are its blocks."""
    second_blocks: str = "all"
    redux: UploadedFile | None = None
    """An image whose tokens by FLUX.1 Redux are read, shown with FLUX.1, as are their weight and blocks."""
    redux_scale: float = 1.0
    redux_blocks: str = "all"
    redux_curve: str = ""
    """Factors on the weight, as on the command line: `1:0.5:0`."""
    negative_prompt: str = ""
    seed: str = ""
    """As text, because numbers in a browser are exact up to 2⁵³ only."""
    locked: bool = False
    num_inference_steps: str = ""
    """As text, like the three below, because an empty Gradio number becomes 0 once it is displayed."""
    guidance_scale: str = ""
    width: str = ""
    height: str = ""
    restored_recipe: str | None = None
    """JSON of the recipe that was restored, which keeps the settings that have no field on the page."""

    @classmethod
    def from_components(cls, values: Iterable[object]) -> "FormValues":
        """Build from the values of the components, in the order of this class's fields.

        Empty components may be None; their fields keep the default.
        """
        pairs = zip(fields(cls), values, strict=True)
        return replace(cls(), **{field.name: value for field, value in pairs if value is not None})


SAME_FIELDS = (
    *("prompt", "negative_prompt", "scale", "crop", "start", "end", "fuse", "hold_layout"),
    *("second_scale", "redux_scale"),
)
"""Fields that have the same name and value on the page and in a recipe."""

NUMBER_FIELDS = ("num_inference_steps", "guidance_scale", "width", "height")
"""Fields that hold a number of the recipe as text, or nothing."""

UPLOAD_FIELDS = ("image", "texture", "content_image", "photo", "redux")
"""Fields that hold an uploaded image."""

BLEND_FIELDS = ("colour_scale", "texture_scale", "colour_transfer")
"""Fields that hold a number as text, or nothing, and act on a reference."""

TRANSFER_INTERVAL_FIELDS = ("colour_transfer_start", "colour_transfer_end")
"""The two numbers of `colour_transfer_interval`, as text or nothing."""

_FIELDS_WITHOUT_COMPONENT = (
    *("combine", "true_cfg_scale", "guidance_interval", "scheduler"),
    *("layout_references", "negative_references", "mask", "colour_image"),
    *("second_references", *SET_FIELDS),
)
"""Fields of a recipe that the page keeps from a restored one."""


def build_recipe(values: FormValues, settings: Settings, store: ImageStore) -> Recipe:
    """Convert the page's values to a recipe for the studio's model.

    Uploaded images are copied into the store. A random seed is chosen unless the seed is locked. Settings
    without an effect beside the others are left out, such as those of the style if there is no reference.

    Raises:
        JobError: A field is missing, or a value is not valid.
        ImageError: The uploaded file is not an image that can be read.
        StyleError: A style is not in the library.
        BlockError: `blocks` would name a file.
    """
    restored = Recipe.from_json(values.restored_recipe) if values.restored_recipe else None
    kept = restored or Recipe(prompt="", seed=0, scheduler=settings.scheduler)
    references = _resolve_references(values, restored, store)
    redux = _resolve_upload(values.redux, kept.redux_references, store)
    fields: RecipeFields = {
        **{name: getattr(kept, name) for name in _FIELDS_WITHOUT_COMPONENT},
        **{name: getattr(values, name) for name in SAME_FIELDS},
        **{name: getattr(values, name).strip() or None for name in (*NUMBER_FIELDS, *BLEND_FIELDS)},
        "references": references,
        "texture_references": _resolve_upload(values.texture, kept.texture_references, store),
        "content_references": _resolve_upload(values.content_image, kept.content_references, store),
        # They have no effect without references, also where they name a file.
        "blocks": _resolve_blocks("blocks", values, restored) if references else "style",
        "second_blocks": _resolve_blocks("second_blocks", values, restored) if settings.second_adapter else "all",
        "redux_references": redux,
        "redux_blocks": _resolve_blocks("redux_blocks", values, restored) if redux else "all",
        "redux_curve": values.redux_curve.split(":") if redux and values.redux_curve.strip() else (),
        **({name: getattr(settings, name) for name in ("redux_model", "redux_image_encoder")} if redux else {}),
        "content": tuple(values.content),
        "content_scale": _parse_content_scale(values.content_scale),
        "removal": values.removal or None,
        "mask_quantile": (values.mask_quantile.strip() or None) if values.removal == "mask" else None,
        "colour_transfer_interval": _resolve_transfer_interval(values),
        "seed": _resolve_seed(values),
        **{name: getattr(settings, name) for name in MODEL_FIELDS},
    }
    if values.photo:
        fields |= _resolve_photo(values.photo, values.image_scale, kept, store)
    return drop_idle_fields(Recipe.model_validate(fields))


def remove_references(recipe: Recipe) -> Recipe:
    """Return the recipe without references, and without the settings that need one."""
    names = (name for name in FILE_FIELDS if name.endswith("references"))
    return drop_idle_fields(recipe.replace(**dict.fromkeys(names, ()), colour_transfer=None))


def _resolve_references(values: FormValues, restored: Recipe | None, store: ImageStore) -> tuple[Reference, ...]:
    if values.source == RESTORED:
        return restored.references if restored else ()
    if values.source == IMAGE:
        return _resolve_upload(values.image, None, store)
    if values.source == SAVED:
        if not values.saved:
            raise JobError("No saved style is selected; select one, or drop an image.")
        return (resolve_library_style(values.saved),)
    if not values.first or not values.second:
        raise JobError("A mix needs two saved styles; select both.")
    weights = ((values.first, 1 - values.share), (values.second, values.share))
    return tuple(
        # Rounded, because 1 − 0.7 is not 0.3 in floating point.
        resolve_library_style(name).model_copy(update={"weight": round(weight, 4)})
        for name, weight in weights
    )


def _resolve_upload(
    uploaded: UploadedFile | None, restored: tuple[Reference, ...] | None, store: ImageStore
) -> tuple[Reference, ...]:
    """Return the uploaded image, or those of the restored recipe that the page cannot show."""
    if uploaded:
        return (store.add_reference(Path(uploaded["path"]), uploaded.get("orig_name")),)
    return restored or ()


def _resolve_photo(photo: UploadedFile, scale: str, kept: Recipe, store: ImageStore) -> RecipeFields:
    """Return the fields of a photo whose content is kept: the settings of `restyle --keep-content`, drawn by DDIM."""
    [image] = _resolve_upload(photo, None, store)
    return {
        "image": image,
        "inversion": kept.inversion or KEEP_CONTENT["inversion"],
        "image_scale": scale.strip() or KEEP_CONTENT["image_scale"],
        "scheduler": kept.scheduler if kept.scheduler in INVERTIBLE else INVERTIBLE[0],
        # An inversion has the noise of the photo, and shares no attention.
        **dict.fromkeys(SET_FIELDS),
    }


def _resolve_transfer_interval(values: FormValues) -> tuple[str, str] | None:
    """Return the steps of the colour transfer, of which an empty one is the default; None without a transfer."""
    from ..core.latent_colours import INTERVAL

    typed = [getattr(values, name).strip() for name in TRANSFER_INTERVAL_FIELDS]
    if not values.colour_transfer.strip() or not any(typed):
        return None
    start, end = (text or str(default) for text, default in zip(typed, INTERVAL, strict=True))
    return start, end


def _resolve_blocks(
    name: str, values: FormValues, restored: Recipe | None
) -> str | tuple[str, ...] | dict[str, float]:
    """Accept roles, block names and patterns only, so that no file is opened because the page names it.

    Args:
        name: One of `BLOCK_FIELDS`.
        values: The page's values.
        restored: The recipe that was restored.
    """
    typed = getattr(values, name)
    blocks = getattr(restored, name) if restored and typed == RESTORED_BLOCKS else typed
    entries: Iterable[str] = [blocks] if isinstance(blocks, str) else blocks
    for word in (part.strip() for entry in entries for part in entry.split("+")):
        if not _BLOCK_WORD.fullmatch(word) or word.endswith(".json"):
            raise BlockError(f"{name} cannot be {word!r} here; use style, layout, all, or names of blocks.")
    return blocks


def _parse_content_scale(text: str) -> float | str | None:
    text = text.strip()
    try:
        return text if text == "auto" else float(text) if text else None
    except ValueError:
        raise JobError(f"How much content is removed cannot be {text!r}; it is a number, or auto.") from None


def _resolve_seed(values: FormValues) -> int:
    if not values.locked:
        return secrets.randbelow(2**32)
    text = values.seed.strip()
    if not text.isascii() or not text.isdigit():
        raise JobError(f"The locked seed is {text!r}; it must be a whole number from 0.")
    return int(text)
