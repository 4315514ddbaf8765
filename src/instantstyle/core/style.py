"""A style: references made reusable, kept apart from what is to be taken out; saved, mixed, bound."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..imaging.thumbnail import combine_thumbnails
from . import bound_style as keys
from . import ingredients
from .bound_style import BoundKeyValues
from .content_removal import CLEAN, default_scale
from .ingredients import Ingredients
from .style_file import PLAIN, SHIFTED, StyleMetadata, bound_name, bound_pairs, read, validate_metadata, write
from .style_library import find_style_file


@dataclass(frozen=True, eq=False, repr=False)
class Style(Ingredients):
    """One or more references made reusable.

    Picture and content embeddings stay apart, so that the removal can be retuned without the picture. Bound,
    it also holds the keys and values that a family of networks makes of it, and draws there without adapter
    and image encoder.
    """

    crop: str = "center"
    """How the references were made square."""
    thumbnail: bytes = b""
    """A small JPEG of them, to be recognised by."""
    author: str = ""
    licence: str = ""
    notes: str = ""
    bindings: tuple[BoundKeyValues, ...] = ()
    """Keys and values, at most once for each family of networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.has_ingredients and not self.bindings:
            raise StyleError("A style needs a reference, or keys and values; this one has neither.")

    def with_content(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases dim"],
        content_scale: float | None = None,
        removal: str | None = None,
    ) -> "Style":
        """The same references with these words removed instead of any earlier ones; bound no longer."""
        self.check_removable()
        if (removal or self.removal) == CLEAN:
            raise StyleError(
                f"removal='clean' reads no words, and is to take {', '.join(content)} out of {self.name}; "
                "leave content out, or take it out by subtract, project or mask."
            )
        if content_embeds.shape[-1] != self.dim:
            raise StyleError(
                f"The content's embedding is {content_embeds.shape[-1]} wide, {self.name}'s is {self.dim}: "
                "they come from different CLIPs. Use the text tower that was trained with the image tower."
            )
        cleaned = replace(self, content=tuple(content), content_embeds=content_embeds, bindings=())
        return cleaned.with_removal(content_scale, removal)

    def minus(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases dim"],
        content_scale: float | None = None,
    ) -> "Style":
        """The same with these words removed beside any earlier ones; `InstantStyle.minus` embeds them."""
        if self.content_embeds is None:
            return self.with_content(content, content_embeds, content_scale)
        if content_scale not in (None, self.content_scale):
            raise StyleError(
                f"{self!r} has content removed × {self.content_scale:g} already, and one amount serves all "
                f"words; give that one, or say tuned({content_scale:g}) first."
            )
        both = torch.cat([self.content_embeds, content_embeds.to(self.content_embeds)])
        return self.with_content([*self.content, *content], both)

    def with_removal(self, content_scale: float | None = None, removal: str | None = None) -> "Style":
        """The same, its content removed by another amount or in another way; None leaves as it is.

        An amount means something else in each way, so that another way without an amount begins with its own
        (`CONTENT_SCALES`). What is bound stays bound only where nothing changes.
        """
        way = self.removal if removal is None else removal
        usual = self.content_scale if way == self.removal else default_scale(way)
        scale = usual if content_scale is None else content_scale
        acts = bool(self.content) or CLEAN in (way, self.removal)
        changed = acts and (scale, way) != self.removal_settings
        if changed:
            self.check_ingredients()
        kept = () if changed else self.bindings
        return replace(self, content_scale=scale, removal=way, bindings=kept)

    def with_weights(self, weights: Sequence[float]) -> "Style":
        """The same references counting otherwise; bound no longer."""
        self.check_ingredients()
        return replace(self, weights=tuple(map(float, weights)), bindings=())

    def bound_for(self, family: str) -> BoundKeyValues | None:
        """Its keys and values for this family of networks, if it is bound for it."""
        return next((binding for binding in self.bindings if binding.family == family), None)

    def with_binding(self, binding: BoundKeyValues) -> "Style":
        """The same with these keys and values, instead of any earlier ones for that family."""
        others = [other for other in self.bindings if other.family != binding.family]
        return replace(self, bindings=(*others, binding))

    def without_bindings(self) -> "Style":
        """The ingredients alone."""
        self.check_ingredients()
        return replace(self, bindings=())

    def bound_only(self) -> "Style":
        """The keys and values alone: drawn with as before, but never again retuned or bound anew."""
        return replace(self, **_NOTHING, combine="average", content_embeds=None)

    @staticmethod
    def mix(parts: Any, *, on: str | None = None) -> "Style":
        """`Style.mix({"ink": 0.7, "neon": 0.3})`: styles, their files or their names, each with its weight.

        `on="embeddings"`: Σ wᵢeᵢ / Σ wᵢ, content taken out of each; `on="keys"`: the same of the keys and
        values of the families that all are bound for. By default embeddings where all have theirs. In any
        order the same, bit for bit.
        """
        return _mixed(parts.items() if isinstance(parts, Mapping) else parts, on)

    def interpolate(self, other: "Style", share: float) -> "Style":
        """This style moved towards another: at 0 it is this one, at 1 the other."""
        if not 0 <= share <= 1:
            raise StyleError(f"towards cannot go {share!r} of the way; 0 stays here, 1 is there.")
        return Style.mix([(self, 1 - share), (other, share)])

    def save(self, path: str | Path, *, force: bool = False, exact: bool = False) -> Path:
        """Write a .style.safetensors file; docs/style-file.md describes it.

        Embeddings are stored in float32, keys and values in float16; `exact` keeps these as they are.
        """
        return write(Path(path), self._imprint(), self._tensors(exact), force=force)

    @staticmethod
    def load(source: str | Path) -> "Style":
        """From a style file, or by a name in the library; `StyleError` unless it is whole and ours."""
        path = find_style_file(source) or Path(source)
        imprint, tensors = read(path)
        fields = imprint.model_dump(exclude={"bound"})
        embeds = {name: tensors[name].float() for name in _EMBEDS if name in tensors}
        thumbnail = tensors["thumbnail"].numpy().tobytes() if "thumbnail" in tensors else b""
        bindings = (
            BoundKeyValues(
                family, adapter, bound_pairs(tensors, family, PLAIN), bound_pairs(tensors, family, SHIFTED)
            )
            for family, adapter in imprint.bound.items()
        )
        try:
            return Style(**{**_NOTHING, **fields, **embeds}, thumbnail=thumbnail, bindings=tuple(bindings))
        except StyleError as fault:
            raise StyleError(f"{path} is no style: {fault}") from None

    def _imprint(self) -> StyleMetadata:
        bound = {binding.family: binding.adapter for binding in self.bindings}
        told = {name: getattr(self, name) for name in StyleMetadata.model_fields if name != "bound"}
        return validate_metadata(self, {**told, "bound": bound})

    def _tensors(self, exact: bool) -> dict[str, Tensor]:
        embeds = {name: getattr(self, name) for name in _EMBEDS} if self.has_ingredients else {}
        tensors = {name: tensor.float() for name, tensor in embeds.items() if tensor is not None}
        if self.thumbnail:
            tensors["thumbnail"] = torch.frombuffer(bytearray(self.thumbnail), dtype=torch.uint8)
        for binding in self.bindings:
            for halves, pairs in ((PLAIN, binding.layers), (SHIFTED, binding.shifts)):
                for layer, pair in pairs.items():
                    for which, tensor in zip(halves, pair, strict=True):
                        kept = tensor if exact else self._halved(tensor)
                        tensors[bound_name(binding.family, layer, which)] = kept
        return tensors

    def _halved(self, tensor: Tensor) -> Tensor:
        half = tensor.half()
        if not half.isfinite().all():
            raise StyleError(f"{self!r} has keys or values too large for float16; save it with exact=True.")
        return half

    def __repr__(self) -> str:
        """`Style(ink.png − "a cat" × 0.5, CLIP-1280)`; bound: `…, bound for sdxl)`."""
        families = " and ".join(binding.family for binding in self.bindings)
        return f"Style({self.label}, {self.encoder}{f', bound for {families}' if families else ''})"


def find_saved(source: Any) -> Style | None:
    """A ready style, or the one that a path or a name of the library means; None for a picture."""
    if isinstance(source, Style):
        return source
    return None if find_style_file(source) is None else Style.load(source)


_EMBEDS = ("image_embeds", "unconditional", "content_embeds")

_NOTHING = {"image_embeds": torch.zeros(0, 0), "unconditional": torch.zeros(0), "weights": ()}


def _mixed(given: Iterable[tuple[Any, float]], on: str | None) -> Style:
    parts = _in_order([(find_saved(part) or Style.load(part), _checked(weight)) for part, weight in given])
    styles = [style for style, _ in parts]
    if not styles:
        raise StyleError("A mix needs a style of a weight above 0; there is none.")
    if len(styles) == 1:
        return styles[0]
    on = on or ("embeddings" if all(style.has_ingredients for style in styles) else "keys")
    made = {"embeddings": _on_embeddings, "keys": _on_keys}.get(on)
    if made is None:
        raise StyleError(f"A mix cannot be made on {on!r}; on is embeddings or keys.")
    return Style(
        name=" + ".join(f"{_told(style)} × {weight:g}" for style, weight in parts),
        crop=styles[0].crop,
        thumbnail=combine_thumbnails([style.thumbnail for style in styles]),
        author=", ".join(dict.fromkeys(style.author for style in styles if style.author)),
        licence="; ".join(dict.fromkeys(style.licence for style in styles if style.licence)),
        **made(parts),
    )


def _on_embeddings(parts: Sequence[tuple[Style, float]]) -> dict[str, Any]:
    return ingredients.mixed(parts)


def _on_keys(parts: Sequence[tuple[Style, float]]) -> dict[str, Any]:
    """Those families that all are bound for, by one adapter."""
    bound = [({each.family: each for each in style.bindings}, weight) for style, weight in parts]
    families = [family for family in sorted(bound[0][0]) if all(family in by for by, _ in bound)]
    found = [keys.mixed([(by[family], weight) for by, weight in bound]) for family in families]
    bindings = tuple(binding for binding in found if binding is not None)
    if not bindings:
        told = "; ".join(f"{style.name}: {_bound_for(style)}" for style, _ in parts)
        raise StyleError(
            "These styles cannot be mixed by their keys and values, as they are not bound for layers of one "
            f"family by one adapter ({told}); bind them alike, or mix styles that have their embeddings."
        )
    first = parts[0][0]
    seen_by = {"encoder": first.encoder, "encoder_fingerprint": first.encoder_fingerprint}
    return {**_NOTHING, **seen_by, "bindings": bindings}


def _in_order(parts: Iterable[tuple[Style, float]]) -> list[tuple[Style, float]]:
    """The heaviest first, equal ones by name and numbers: a sum of floats depends on its order."""
    return sorted(
        (part for part in parts if part[1] > 0), key=lambda part: (-part[1], part[0].label, _digest(part[0]))
    )


def _digest(style: Style) -> str:
    told = sha256(repr((style.weights, style.content_scale, style.removal)).encode())
    for name, tensor in sorted(style._tensors(exact=True).items()):
        told.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return told.hexdigest()


def _checked(weight: Any) -> float:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not isfinite(weight) or weight < 0:
        raise StyleError(f"The weight of a style in a mix is {weight!r}; it must be a finite number from 0.")
    return float(weight)


def _told(style: Style) -> str:
    return f"({style.label})" if " " in style.label else style.label


def _bound_for(style: Style) -> str:
    return ", ".join(f"{each.family} by {each.adapter}" for each in style.bindings) or "not bound"
