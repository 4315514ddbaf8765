"""From a recipe back to the page: all its settings, and in words what could not be had."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.style_library import list_names
from ..recipe import Recipe, Reference
from .form_values import AS_RESTORED, MIX, NUMBERS, PICTURE, RESTORED, SAME, SAVED, FormValues
from .image_store import LISTS, ImageStore, shown
from .settings import Settings


@dataclass(frozen=True)
class Restored:
    """The page as it was, and what is otherwise now."""

    asked: FormValues
    remarks: tuple[str, ...] = ()


def restored(recipe: Recipe, settings: Settings, keep: ImageStore) -> Restored:
    """The page that asks for this recipe. Its files are those of the same content that are here."""
    remarks: list[str] = []
    here = _with_files_here(recipe, keep, remarks)
    remarks += _differences(recipe, settings)
    return Restored(FormValues(**_source(here), **_settings(here), rest=here.to_json()), tuple(remarks))


def _settings(recipe: Recipe) -> dict[str, Any]:
    taken = bool(recipe.content) or recipe.removal == "clean"
    return {
        **{name: getattr(recipe, name) for name in SAME},
        **{name: _written(getattr(recipe, name)) for name in NUMBERS},
        "content": recipe.content,
        # Where nothing is taken out the number is the model's own, and the next reference may want another.
        "content_scale": _written(recipe.content_scale) if taken else "",
        "removal": (recipe.removal or "") if taken else "",
        "blocks": recipe.blocks if isinstance(recipe.blocks, str) else AS_RESTORED,
        "seed": str(recipe.seed),
        "locked": True,
    }


def _written(value: object) -> str:
    return "" if value is None else str(value)


def _source(recipe: Recipe) -> dict[str, Any]:
    """Which of the page's places the references fit."""
    references = recipe.references
    library = list_names()
    kept = [shown(reference.name) if shown(reference.name) in library else None for reference in references]
    alone = len(references) == 1 and references[0].weight == 1
    if not references:
        return {"source": PICTURE}
    if alone and kept[0]:
        return {"source": SAVED, "saved": kept[0]}
    if alone:
        path = references[0].name
        return {"source": PICTURE, "picture": {"path": path, "orig_name": Path(path).name}}
    total = sum(reference.weight for reference in references)
    if len(references) == 2 and all(kept) and recipe.combine == "average" and total:
        share = round(references[1].weight / total, 4)
        return {"source": MIX, "first": kept[0], "second": kept[1], "share": share}
    return {"source": RESTORED}


def _with_files_here(recipe: Recipe, keep: ImageStore, remarks: list[str]) -> Recipe:
    """Each file where it lies here; those that are not here are left out, and told of."""

    def placed(reference: Reference) -> Reference | None:
        path = keep.found(reference)
        if path is None:
            remarks.append(
                f"{shown(reference.name)} is not among the references here; drop it as the reference."
            )
            return None
        return reference.model_copy(update={"name": str(path)})

    lists = {name: tuple(filter(None, map(placed, getattr(recipe, name)))) for name in LISTS}
    return recipe.but(**lists, mask=recipe.mask and placed(recipe.mask))


def _differences(recipe: Recipe, settings: Settings) -> Iterator[str]:
    if recipe.image:
        yield f"It began from {shown(recipe.image.name)}; here pictures begin from words alone."
    for name in ("model", "adapter", "image_encoder"):
        then, now = getattr(recipe, name), getattr(settings, name)
        if then != now:
            part, usual = name.replace("_", " "), "the usual one"
            yield f"Its {part} was {then or usual}; here it is {now or usual}."
