"""A style: embeddings of reference images and of the content to remove from them; saved, mixed, bound."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .bound_style import BoundKeyValues
from .clip_encoders import ImageEncoder
from .content_removal import CLEAN, CONTENT_SCALES, check_removal, default_scale, remove, weighted_mean
from .style_file import read_style_fields, write_style
from .style_library import find_style_file
from .style_mixing import NO_EMBEDDINGS, checked_weights, mixed_fields, ordered_parts, split_pairs
from .style_source import StyleSource, source_of_file, source_of_mix

COMBINATIONS = ("average", "concat")


@dataclass(frozen=True, eq=False, repr=False)
class Style:
    """One or more reference images made reusable.

    Image and content embeddings are stored separately, so that the removal can be changed without the image. A bound
    style also holds the keys and values that a family of networks computes from it, and generates there without
    adapter and image encoder. Methods return new styles; a style is never changed. Fields that do not fit together
    raise `StyleError`.
    """

    image_embeds: Float[Tensor, "refs *features dim"]
    """Raw projected embeddings [refs dim]; for Plus and full adapters patch features [refs patches dim]. A style that
    is only bound has none, [0 0]."""
    unconditional: Float[Tensor, "*features dim"]
    """The unconditional input of the adapter: zeros, or the patch features of an all-zero image."""
    weights: tuple[float, ...] = (1.0,)
    """Weight of each reference; only their proportions matter."""
    combine: str = "average"
    """`average`: one embedding, the weighted mean; `concat`: the tokens of all references side by side."""
    content: tuple[str, ...] = ()
    """Words for what the references show, which are removed."""
    content_embeds: Float[Tensor, "phrases dim"] | None = None
    content_scale: float = CONTENT_SCALES["subtract"]
    """How much is removed, 0 for nothing: of the words' embedding, of the elements they mark, or of the tail."""
    removal: str = "subtract"
    """`subtract`, `project`, `mask` or `clean`."""
    name: str = "reference"
    encoder: str = "CLIP"
    encoder_fingerprint: str = ""
    """Fingerprint of the image encoder; empty if it is unknown."""
    crop: str = "center"
    """How the references were made square."""
    thumbnail: bytes = b""
    """A small JPEG of the references."""
    author: str = ""
    licence: str = ""
    notes: str = ""
    bindings: tuple[BoundKeyValues, ...] = ()
    """Keys and values, at most once for each family of networks."""
    source: StyleSource | None = None
    """The files that it was made from, for recipes; None if unknown."""

    def __post_init__(self) -> None:
        check_removal(self.removal, self.content_scale)
        if self.combine not in COMBINATIONS:
            raise StyleError(f"combine cannot be {self.combine!r}; it is one of {', '.join(COMBINATIONS)}.")
        object.__setattr__(self, "weights", checked_weights(self.weights, len(self.image_embeds)))
        if self.combine == "concat" and len(set(self.weights)) > 1:
            raise StyleError(f"Weights {self.weights} have no meaning for tokens side by side; use combine='average'.")
        if not self.has_ingredients and not self.bindings:
            raise StyleError("A style needs a reference, or keys and values; this one has neither.")

    @property
    def dim(self) -> int:
        """Width of the embeddings or patch features."""
        return self.image_embeds.shape[-1]

    @property
    def uses_patch_features(self) -> bool:
        """Whether the style is for an adapter on patch features, from which words cannot be removed."""
        return self.image_embeds.ndim == 3

    @property
    def has_ingredients(self) -> bool:
        """Whether the embeddings are present, so that the style can be changed, mixed and bound."""
        return len(self.image_embeds) > 0

    @property
    def uses_token_cleaning(self) -> bool:
        """Whether content is removed from the tokens, without words."""
        return self.removal == CLEAN and self.content_scale != 0

    @property
    def removed_label(self) -> str:
        """What is removed, `"a cat"`, `("a cat" + "a mat")` or `its tail`; empty without content."""
        if self.removal == CLEAN:
            return "its tail"
        words = " + ".join(f'"{phrase}"' for phrase in self.content)
        return f"({words})" if len(self.content) > 1 else words

    @property
    def label(self) -> str:
        """Name and what is removed, `ink.png − "a cat" × 0.5`."""
        sign = {"subtract": "−", "project": "⊥", "mask": "∖", CLEAN: "−"}[self.removal]
        removed = self.removed_label
        return self.name + (f" {sign} {removed} × {self.content_scale:g}" if removed else "")

    def embeddings(self) -> Float[Tensor, "used *features dim"]:
        """Return what the adapter reads, content removed: each reference for `concat`, else the mean."""
        if self.combine == "average":
            return self.embedding()[None]
        self.check_ingredients()
        if self.content_embeds is None:
            return self.image_embeds
        return remove(self.image_embeds, self.content_embeds, self.content_scale, self.removal)

    def embedding(self) -> Float[Tensor, "*features dim"]:
        """Return the weighted mean of the references with the content removed."""
        self.check_ingredients()
        embed = weighted_mean(self.image_embeds, self.weights)
        if self.content_embeds is None:
            return embed
        return remove(embed, self.content_embeds, self.content_scale, self.removal)

    def with_content(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases dim"],
        content_scale: float | None = None,
        removal: str | None = None,
    ) -> "Style":
        """Remove these words, with these raw text embeddings, instead of any earlier ones.

        The result is not bound; scale and removal are those of `with_removal`.

        Raises:
            StyleError: Words cannot be removed from this style, or the widths differ.
        """
        self.check_removable()
        if (removal or self.removal) == CLEAN:
            raise StyleError(
                f"removal='clean' reads no words, but content is {', '.join(content)} for {self.name}; "
                "leave content out, or use subtract, project or mask."
            )
        if content_embeds.shape[-1] != self.dim:
            raise StyleError(
                f"The content's embedding has width {content_embeds.shape[-1]}, {self.name}'s {self.dim}: they are "
                "of different CLIPs. Use the text encoder that was trained with the image encoder."
            )
        style = replace(self, content=tuple(content), content_embeds=content_embeds, bindings=())
        return style.with_removal(content_scale, removal)

    def minus(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases dim"],
        content_scale: float | None = None,
    ) -> "Style":
        """Remove these words beside any earlier ones; `InstantStyle.minus` embeds them.

        All words share one `content_scale`, None keeps it; raises `StyleError` for a second one.
        """
        if self.content_embeds is None:
            return self.with_content(content, content_embeds, content_scale)
        if content_scale is not None:
            check_removal(self.removal, content_scale)
        if content_scale not in (None, self.content_scale):
            raise StyleError(
                f"{self!r} has content removed × {self.content_scale:g} already, and one scale applies to all "
                f"words; give that one, or call with_removal({content_scale:g}) first."
            )
        embeds = torch.cat([self.content_embeds, content_embeds.to(self.content_embeds)])
        return self.with_content([*self.content, *content], embeds)

    def with_removal(self, content_scale: float | None = None, removal: str | None = None) -> "Style":
        """Change how much content is removed, and how.

        Args:
            content_scale: How much is removed. None keeps the scale; with another removal it selects that one's
                default (`CONTENT_SCALES`), as a scale has another meaning in each.
            removal: How it is removed; None keeps the removal.

        Returns:
            The changed style; it stays bound only where nothing changes.

        Raises:
            StyleError: There is no such removal, or the style has keys and values only.
        """
        removal = self.removal if removal is None else removal
        if content_scale is None:
            content_scale = self.content_scale if removal == self.removal else default_scale(removal)
        has_effect = bool(self.content) or CLEAN in (removal, self.removal)
        changes = has_effect and (content_scale, removal) != (self.content_scale, self.removal)
        if changes:
            self.check_ingredients()
        bindings = () if changes else self.bindings
        return replace(self, content_scale=content_scale, removal=removal, bindings=bindings)

    def with_weights(self, weights: Sequence[float]) -> "Style":
        """Change the weights of the references; the result is not bound."""
        self.check_ingredients()
        source = self.source if self.source and not self.source.is_mix else None
        return replace(self, weights=checked_weights(weights, len(self.image_embeds)), bindings=(), source=source)

    def bound_for(self, family: str) -> BoundKeyValues | None:
        """Return the keys and values for a family of networks; None if the style is not bound for it."""
        return next((bound for bound in self.bindings if bound.family == family), None)

    def with_binding(self, bound: BoundKeyValues) -> "Style":
        """Add keys and values, in place of any earlier ones for the same family."""
        others = [other for other in self.bindings if other.family != bound.family]
        return replace(self, bindings=(*others, bound))

    def bound_only(self) -> "Style":
        """Drop the embeddings: the style generates as before, but cannot be changed or bound again."""
        return replace(self, **NO_EMBEDDINGS, combine="average", content_embeds=None)

    @staticmethod
    def mix(parts: Any, *, on: str | None = None) -> "Style":
        """Mix styles by weight, in any order with the same result: `Style.mix({"ink": 0.7, "neon": 0.3})`.

        Args:
            parts: A mapping or pairs of styles, style files or library names, and weights from 0.
            on: `"embeddings"` or `"keys"`, see `style_mixing.mixed_fields`; None selects embeddings where all styles
                have theirs.

        Raises:
            StyleError: A weight is not valid, a style cannot be found, or the styles cannot be mixed.
        """
        pairs = split_pairs(parts)
        ordered = ordered_parts(
            (part if isinstance(part, Style) else Style.load(cast(str, part)), weight) for part, weight in pairs
        )
        if len(ordered) == 1:
            return ordered[0][0]
        mixed = Style(**mixed_fields(ordered, on))
        return replace(mixed, source=source_of_mix(ordered, mixed) if on is None else None)

    def interpolate(self, other: "Style", share: float) -> "Style":
        """Mix this style with another: a `share` of 0 is this style, 1 the other; `StyleError` outside of 0..1."""
        if not isinstance(cast(object, other), Style):
            raise StyleError(f"other is {shorten(other)}; it must be a Style, as styled.style(…) makes one.")
        if not is_finite_number(share) or not 0 <= share <= 1:
            raise StyleError(f"share is {shorten(share)}; it must be a number in 0..1: 0 is this style, 1 the other.")
        return Style.mix([(self, 1 - float(share)), (other, share)])

    def save(self, path: str | Path, *, force: bool = False, exact: bool = False) -> Path:
        """Write a .style.safetensors file; docs/style-file.md documents the format.

        Args:
            path: The file to write; `force` replaces an existing one.
            exact: Whether to store keys and values as they are instead of in float16.

        Raises:
            JobError: The file cannot be written there.
            StyleError: Keys or values overflow float16.
        """
        return write_style(self, Path(path), force=force, exact=exact)

    @staticmethod
    def load(source: str | Path) -> "Style":
        """Read a style file, or a style of the library by its name; `StyleError` if that is not possible."""
        if not isinstance(cast(object, source), str | Path):
            raise StyleError(f"A style file is {shorten(source)}; pass its path, or a name of the library.")
        path = find_style_file(source) or Path(source)
        fields, sha256 = read_style_fields(path)
        try:
            style = Style(**{**NO_EMBEDDINGS, **fields})
        except StyleError as error:
            raise StyleError(f"{path} is not a style: {error}") from None
        return replace(style, source=source_of_file(path, sha256, style))

    def check_encoder(self, encoder: ImageEncoder) -> None:
        """Raise `StyleError` if the style was made with another encoder than this one, as far as that is known."""
        if self.encoder_fingerprint not in ("", encoder.fingerprint):
            raise StyleError(
                f"{self!r} was made with another image encoder ({self.encoder} {self.encoder_fingerprint}) than the "
                f"one here ({encoder.name} {encoder.fingerprint}); make it with this one, or bind it there."
            )

    def check_ingredients(self) -> None:
        """Raise `StyleError` if the style has keys and values only."""
        if not self.has_ingredients:
            raise StyleError(
                f"{self.name} is bound only: without embeddings it can generate and be mixed with styles bound alike, "
                "but not be changed. Make it again from its reference images."
            )

    def check_removable(self) -> None:
        """Raise `StyleError` if words cannot be removed from the style."""
        self.check_ingredients()
        if self.uses_patch_features:
            raise StyleError(
                f"Content cannot be removed from {self.name}: it consists of patch features, "
                "and words have no embedding among those. Use a base adapter (not Plus, not full)."
            )

    def __repr__(self) -> str:
        """`Style(ink.png − "a cat" × 0.5, CLIP-1280)`; a bound style ends in `…, bound for sdxl)`."""
        families = " and ".join(bound.family for bound in self.bindings)
        return f"Style({self.label}, {self.encoder}{f', bound for {families}' if families else ''})"

    def _repr_html_(self) -> str:
        """Thumbnail and ingredients, for notebooks."""
        image = (
            f'<img alt="" src="data:image/jpeg;base64,{b64encode(self.thumbnail).decode()}">' if self.thumbnail else ""
        )
        return f"<figure>{image}<figcaption>{escape(repr(self))}</figcaption></figure>"
