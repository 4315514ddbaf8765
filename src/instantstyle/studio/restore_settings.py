"""Conversion of a recipe back to the page's values."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..core.style_library import SUFFIX, list_names
from ..errors import InstantStyleError
from ..models.redux_files import takes_redux
from ..models.single_file import find_digest
from ..recipe import FILE_FIELDS, MODEL_FIELDS, Recipe
from ..recipe_types import WORDLESS, Lora, RecipeFields, Reference
from ..utils.device import pick_device
from ..utils.text import shorten
from .form_values import (
    BLEND_FIELDS,
    IMAGE,
    MIX,
    RESTORED,
    RESTORED_BLOCKS,
    SAME_FIELDS,
    SAVED,
    TRANSFER_INTERVAL_FIELDS,
    FormValues,
    UploadedFile,
)
from .image_store import ImageStore, display_name
from .settings import Settings

_DROPPED = {
    "references": "reference",
    "texture_references": "image of the texture",
    "content_references": "image of the content",
    "redux_references": "image beside the prompt",
    "image": "photo",
}
"""What an image that is dropped on the page is, by the field of the recipe that it fills."""


@dataclass(frozen=True)
class RestoredForm:
    """The page's values for a recipe, and sentences about everything that could not be restored."""

    values: FormValues
    remarks: tuple[str, ...] = ()


class SourceValues(TypedDict, total=False):
    """The values of `FormValues` that select the source of the style."""

    source: str
    image: UploadedFile
    saved: str | None
    first: str | None
    second: str | None
    share: float


def restore_form(recipe: Recipe, settings: Settings, store: ImageStore) -> RestoredForm:
    """Convert a recipe to the values with which the page builds that recipe.

    Files are found by their SHA-256 in the store and the style library; names in the recipe open no file.

    Args:
        recipe: The recipe of an image, from this studio or from elsewhere.
        settings: Settings of this studio. Another model, adapter or image encoder gives a remark.
        store: Where references are searched for. Each file that is not found gives a remark.

    Returns:
        The values and the remarks.
    """
    resolved, missing = _resolve_files(recipe, store)
    if recipe.redux_references and not takes_redux(settings.model):
        resolved = resolved.replace(redux_references=())
    shown = {
        name: _find_shown(getattr(resolved, name))
        for name in ("texture_references", "content_references", "redux_references")
    }
    remarks = [_describe_missing(file, recipe) for file in missing]
    if recipe.colour_image in missing:
        # Else the colours would be those of the reference.
        recipe = recipe.replace(colour_image=None, colour_transfer=None, colour_transfer_interval=None)
    photo = resolved.image and resolved.image.name
    removes_content = bool(recipe.content or recipe.content_references) or recipe.removal in WORDLESS
    values = FormValues(
        **_source_values(resolved.references, resolved.combine),
        **{name: getattr(recipe, name) for name in SAME_FIELDS},
        num_inference_steps=_as_text(recipe.num_inference_steps),
        guidance_scale=_as_text(recipe.guidance_scale),
        width=_as_text(recipe.width),
        height=_as_text(recipe.height),
        content=recipe.content,
        content_image=shown["content_references"],
        texture=shown["texture_references"],
        redux=shown["redux_references"],
        redux_blocks=recipe.redux_blocks if isinstance(recipe.redux_blocks, str) else RESTORED_BLOCKS,
        redux_curve=":".join(map(str, recipe.redux_curve)),
        photo={"path": photo, "orig_name": Path(photo).name} if photo else None,
        image_scale=_as_text(resolved.image_scale or 0) if photo else "",
        **{name: _as_text(getattr(recipe, name)) for name in BLEND_FIELDS},
        **dict(zip(TRANSFER_INTERVAL_FIELDS, map(_as_text, recipe.colour_transfer_interval or ()), strict=False)),
        # Without content removal the scale is the model's default, which may differ for the next reference.
        content_scale=_as_text(recipe.content_scale) if removes_content else "",
        removal=(recipe.removal or "") if removes_content else "",
        mask_quantile=_as_text(recipe.mask_quantile) if removes_content else "",
        blocks=recipe.blocks if isinstance(recipe.blocks, str) else RESTORED_BLOCKS,
        second_blocks=recipe.second_blocks if isinstance(recipe.second_blocks, str) else RESTORED_BLOCKS,
        seed=str(recipe.seed),
        locked=True,
        # An image that the page shows is the page's, also when the user removes it.
        restored_recipe=resolved.replace(**{name: () for name, file in shown.items() if file}).to_json(),
    )
    return RestoredForm(values, (*remarks, *_list_differences(recipe, settings)))


def _find_shown(references: tuple[Reference, ...]) -> UploadedFile | None:
    """Return references as an upload if the page can show them: one image with weight 1."""
    if len(references) != 1:
        return None
    [image] = references
    if image.weight != 1 or image.name.endswith(SUFFIX):
        return None
    return {"path": image.name, "orig_name": Path(image.name).name}


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _source_values(references: tuple[Reference, ...], combine: str) -> SourceValues:
    """Select the source on the page that represents the references, and its values."""
    if not references:
        return {"source": IMAGE}
    library = list_names()
    names = [display_name(reference.name) for reference in references]
    saved = [name if name in library else None for name in names]
    if len(references) == 1 and references[0].weight == 1:
        if saved[0]:
            return {"source": SAVED, "saved": saved[0]}
        path = references[0].name
        return {"source": IMAGE, "image": {"path": path, "orig_name": Path(path).name}}
    total = sum(reference.weight for reference in references)
    if len(references) == 2 and all(saved) and combine == "average" and total:
        share = round(references[1].weight / total, 4)
        return {"source": MIX, "first": saved[0], "second": saved[1], "share": share}
    return {"source": RESTORED}


def _resolve_files(recipe: Recipe, store: ImageStore) -> tuple[Recipe, list[Reference]]:
    """Replace the names in a recipe by the paths of the stored files; leave out files that are not stored.

    The page has a field for a photo that is inverted, and none for the image of image-to-image, which is left out.
    """
    without = {"image": None, "inversion": None, "image_scale": None}
    recipe = recipe.replace(strength=None, control="none", **({} if recipe.inversion else without))
    found = {file: path for file in recipe.files() if (path := store.find_reference(file))}
    missing = [file for file in recipe.files() if file not in found]
    changes: RecipeFields = {}
    for name in FILE_FIELDS:
        value = getattr(recipe, name)
        if isinstance(value, tuple):
            changes[name] = tuple(file for file in value if file in found)
        else:
            changes[name] = value if value in found else None
    if not changes["references"]:
        # The form keeps the content settings; a recipe without references has none.
        changes |= {"content": (), "content_references": (), "texture_references": ()}
        others = ("content_scale", "removal", "mask_quantile", "colour_transfer_interval")
        changes |= dict.fromkeys((*others, *BLEND_FIELDS))
    if changes["image"] is None:
        changes |= without
    kept = recipe.replace(**changes)
    return kept.map_files(lambda file: file.model_copy(update={"name": str(found[file])}), FILE_FIELDS), missing


def _describe_missing(file: Reference, recipe: Recipe) -> str:
    """Say where on the page a file that is not stored can be dropped."""
    named = {name: getattr(recipe, name) for name in FILE_FIELDS}
    field = next(name for name, value in named.items() if file in (value if isinstance(value, tuple) else (value,)))
    advice = (
        f"drop it as the {_DROPPED[field]}" if field in _DROPPED else "the page has no field for it: it is left out"
    )
    return f"{display_name(file.name)} is not among the stored references; {advice}."


def _list_differences(recipe: Recipe, settings: Settings) -> Iterator[str]:
    if recipe.image and not recipe.inversion:
        name = display_name(recipe.image.name)
        yield f"It was generated from the image {name} with noise, which the studio cannot do; it can keep a photo."
    if recipe.control != "none":
        yield f"It was generated with a ControlNet, {recipe.control}; the studio generates without."
    if recipe.motion_adapter:
        name = display_name(recipe.motion_adapter.name)
        yield f"It is an animation of the motion adapter {name}; the studio generates single images."
    if recipe.shared:
        yield (
            f"It shares attention with the image of {shorten(recipe.first_prompt)}, seed {recipe.first_seed}; images "
            "with these settings do too, until another style is selected."
        )
    if recipe.redux_references:
        yield from _list_redux_differences(recipe, settings)
    if recipe.dtype not in (None, ours := _loaded_dtype(settings)):
        yield f"It was generated in {recipe.dtype}; here the model is loaded in {ours}."
    yield from _list_model_differences(recipe, settings)
    for name in (name for name in MODEL_FIELDS if name != "model"):
        theirs, ours = (_describe_part(getattr(each, name)) for each in (recipe, settings))
        if theirs != ours:
            part = {"loras": "LoRA", "vae": "VAE"}.get(name, name.replace("_", " "))
            yield f"Its {part} was {theirs}; here it is {ours}."


def _list_model_differences(recipe: Recipe, settings: Settings) -> Iterator[str]:
    """Yield a remark where the model is another one: by its SHA-256 where it is a single file, else by its name."""
    try:
        # Loading the model has computed it.
        digest = find_digest(settings.model)
    except (InstantStyleError, OSError):
        # Its file was moved since the studio loaded it.
        digest = None
    if recipe.model_sha256 == digest if digest else recipe.model == settings.model and recipe.model_sha256 is None:
        return
    theirs, ours = (
        _describe_part(Reference(name=name, sha256=sha256) if sha256 else name)
        for name, sha256 in ((recipe.model, recipe.model_sha256), (settings.model, digest))
    )
    yield f"Its model was {theirs}; here it is {ours}."


def _list_redux_differences(recipe: Recipe, settings: Settings) -> Iterator[str]:
    if not takes_redux(settings.model):
        names = " and ".join(display_name(file.name) for file in recipe.redux_references)
        yield f"It was generated with {names} by FLUX.1 Redux, which acts in FLUX.1 alone; here it is left out."
        return
    theirs, ours = recipe.redux_model, settings.redux_model
    if theirs and ours and theirs.sha256 != ours.sha256:
        yield f"Its weights of FLUX.1 Redux were {_describe_part(theirs)}; here they are {_describe_part(ours)}."


def _loaded_dtype(settings: Settings) -> str:
    """Return the name of the dtype in which the studio loads its model."""
    from ..models.default_dtype import default_dtype
    from ..models.network import choose_dtype
    from ..models.resolve import find_card

    device = pick_device(settings.device)
    try:
        dtype = choose_dtype(find_card(settings.model), device)
    except InstantStyleError:
        # Its folder was moved since the studio loaded it.
        dtype = default_dtype(device)
    return str(dtype).removeprefix("torch.")


def _describe_part(value: str | Reference | tuple[Lora, ...] | None) -> str:
    if isinstance(value, Reference):
        digest = f" ({value.sha256[:12]}…)" if value.sha256 else ""
        return f"{display_name(value.name)}{digest}"
    if isinstance(value, tuple):
        return " and ".join(f"{_describe_part(lora)} × {lora.weight:g}{lora.place}" for lora in value) or "none"
    return value or "the default"
