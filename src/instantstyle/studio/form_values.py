"""What stands on the page, as values; and back and forth between that and a recipe."""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import BlockError, JobError
from ..recipe import Recipe, Reference
from .image_store import ImageStore, saved
from .settings import Settings

PICTURE, SAVED, MIX, RESTORED = "picture", "saved", "mix", "restored"
"""Where the style comes from; the last: as in a picture whose references the page has no place for."""

AS_RESTORED = "as in the picture"
"""Blocks with weights of their own."""

_WORD = re.compile(r"[A-Za-z_][\w.*?-]*")


@dataclass(frozen=True)
class FormValues:
    """Named as the page's fields; an empty one is the model's own choice."""

    source: str = PICTURE
    picture: Mapping[str, Any] | None = None
    """As Gradio hands a file over: where it lies, what it was called."""
    saved: str | None = None
    first: str | None = None
    second: str | None = None
    share: float = 0.5
    """How much of the mix is the second."""
    content: tuple[str, ...] | list[str] | None = ()
    prompt: str = ""
    scale: float = 1.0
    blocks: str = "style"
    content_scale: str = ""
    removal: str = ""
    crop: str = "center"
    start: float = 0.0
    end: float = 1.0
    negative_prompt: str = ""
    seed: str = ""
    """As text: a browser's numbers end at 2⁵³, seeds do not."""
    locked: bool = False
    num_inference_steps: str = ""
    """As text, as it can be empty: Gradio's empty numbers become 0 once they are shown."""
    guidance_scale: str = ""
    width: str = ""
    height: str = ""
    rest: str | None = None
    """The recipe that was restored, as JSON: for what the page has no field for."""

    @classmethod
    def of(cls, values: Iterable[Any]) -> "FormValues":
        """From the fields' values in their order; an empty one may come as None."""
        named = zip(fields(cls), values, strict=True)
        return cls(**{field.name: value for field, value in named if value is not None})


SAME = ("prompt", "scale", "crop", "start", "end", "negative_prompt")
"""Fields that are called and meant alike on the page and in a recipe."""

NUMBERS = ("num_inference_steps", "guidance_scale", "width", "height")
"""The same, where they are given at all."""

_CARRIED = ("combine", "guidance_interval", "layout_references", "negative_references", "mask")


def recipe_for(asked: FormValues, settings: Settings, keep: ImageStore) -> Recipe:
    """What is asked for, of the studio's model; a seed is drawn unless it is locked."""
    rest = Recipe.from_json(asked.rest) if asked.rest else None
    references = _references(asked, rest, keep)
    of_style: dict[str, Any] = {
        "content": tuple(asked.content or ()),
        "content_scale": _amount(asked.content_scale),
        "removal": asked.removal or None,
        **({name: getattr(rest, name) for name in _CARRIED} if rest else {}),
    }
    return Recipe(
        **{name: getattr(asked, name) for name in SAME},
        **{name: getattr(asked, name).strip() or None for name in NUMBERS},
        **(of_style if references else {}),
        references=references,
        blocks=_blocks(asked, rest),
        seed=_seed(asked),
        model=settings.model,
        adapter=settings.adapter,
        image_encoder=settings.image_encoder,
    )


def plain(recipe: Recipe) -> Recipe:
    """The same without any reference."""
    nothing = {"references": (), "content": (), "content_scale": None, "removal": None, "combine": "average"}
    others = {"layout_references": (), "negative_references": (), "mask": None}
    return recipe.but(**nothing, **others)


def _references(asked: FormValues, rest: Recipe | None, keep: ImageStore) -> tuple[Reference, ...]:
    if asked.source == RESTORED:
        return rest.references if rest else ()
    if asked.source == PICTURE:
        sent = asked.picture or {}
        return (keep.reference(Path(sent["path"]), sent.get("orig_name")),) if sent.get("path") else ()
    if asked.source == SAVED:
        if not asked.saved:
            raise JobError("No saved style is picked; pick one, or drop a picture.")
        return (saved(asked.saved),)
    if not asked.first or not asked.second:
        raise JobError("A mix takes two saved styles; pick both.")
    weights = ((asked.first, 1 - asked.share), (asked.second, asked.share))
    # Rounded: 1 − 0.7 is not 0.3.
    return tuple(saved(name).model_copy(update={"weight": round(weight, 4)}) for name, weight in weights)


def _blocks(asked: FormValues, rest: Recipe | None) -> Any:
    """Roles, names and patterns only: no file is opened because the page names it."""
    blocks = rest.blocks if rest and asked.blocks == AS_RESTORED else asked.blocks
    entries: Iterable[str] = [blocks] if isinstance(blocks, str) else blocks
    for word in (part.strip() for entry in entries for part in entry.split("+")):
        if not _WORD.fullmatch(word) or word.endswith(".json"):
            raise BlockError(f"blocks cannot be {word!r} here; pick style, layout, all, or blocks by name.")
    return blocks


def _amount(text: str) -> float | str | None:
    """A number, the word auto, or nothing."""
    text = text.strip()
    try:
        return text if text == "auto" else float(text) if text else None
    except ValueError:
        raise JobError(f"How much is taken out cannot be {text!r}; it is a number, or auto.") from None


def _seed(asked: FormValues) -> int:
    text = asked.seed.strip()
    if not asked.locked:
        return secrets.randbelow(2**32)
    if not text.isascii() or not text.isdigit():
        raise JobError(f"The locked seed is {text!r}; it must be a whole number from 0.")
    return int(text)
