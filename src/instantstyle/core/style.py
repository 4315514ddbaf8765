"""A style: embeddings of reference images and of the content to remove from them; saved, mixed, blended, bound."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..recipe_types import WORDLESS, Reference
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .bound_style import BoundKeyValues
from .colour_texture import COLOUR_SCALE, TEXTURE_SCALE
from .content_removal import check_removal, default_scale
from .style_blending import blended_fields, check_blend_scales
from .style_contents import ContentKind
from .style_data import StyleData
from .style_file import read_style_fields, write_style
from .style_library import find_style_file
from .style_mixing import NO_EMBEDDINGS, checked_weights, mixed_fields, ordered_parts, split_pairs
from .style_source import source_of_blend, source_of_file, source_of_mix


@dataclass(frozen=True, eq=False, repr=False)
class Style(StyleData):
    """One or more reference images made reusable.

    Image and content embeddings are stored separately, so that the removal can be changed without the image. A bound
    style also holds the keys and values that a family of networks computes from it, and generates there without
    adapter and image encoder. Methods return new styles; a style is never changed. Fields that do not fit together
    raise `StyleError`.
    """

    def with_content(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases *features dim"],
        content_scale: float | None = None,
        removal: str | None = None,
        *,
        kinds: Sequence[ContentKind] = (),
        files: Sequence[Reference | None] = (),
    ) -> "Style":
        """Remove these words or pictures, with these raw embeddings, instead of any earlier ones.

        The result is not bound; scale and removal are those of `with_removal`.

        Args:
            content: The words, or names of pictures.
            content_embeds: Their embeddings; from patch features, those of pictures can be subtracted.
            content_scale: How much is removed.
            removal: How it is removed.
            kinds: What each entry is; empty for words only.
            files: The file of each picture, for recipes; empty if none is known.

        Raises:
            StyleError: Words cannot be removed from this style, or the widths differ.
        """
        is_words = not kinds or "words" in kinds
        self.check_removable(is_words=is_words, removal=removal or self.removal)
        if (removal or self.removal) in WORDLESS:
            raise StyleError(
                f"removal={removal or self.removal!r} reads no words, but content is {', '.join(content)} for "
                f"{self.name}; leave content out, or use subtract, project or mask."
            )
        if content_embeds.shape[1:] != self.image_embeds.shape[1:]:
            found, needed = (" × ".join(map(str, x.shape[1:])) for x in (content_embeds, self.image_embeds))
            raise StyleError(
                f"The content's embedding has width {found}, {self.name}'s {needed}: they are "
                "of different CLIPs. Use the text encoder that was trained with the image encoder."
            )
        # Words first, as a recipe lists them, so that sums of floats are the same when its image is reproduced.
        order = sorted(range(len(content)), key=lambda place: bool(kinds) and kinds[place] != "words")
        content, content_embeds = [content[place] for place in order], content_embeds[order]
        kinds = [kinds[place] for place in order] if kinds else ()
        files = [files[place] for place in order] if files else ()
        all_words = set(kinds) <= {"words"}
        described = {"content_kinds": () if all_words else tuple(kinds), "content_files": tuple(files)}
        style = replace(self, content=tuple(content), content_embeds=content_embeds, bindings=(), **described)
        return style.with_removal(content_scale, removal)

    def minus(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases *features dim"],
        content_scale: float | None = None,
        *,
        kinds: Sequence[ContentKind] = (),
        files: Sequence[Reference | None] = (),
    ) -> "Style":
        """Remove these words or pictures beside any earlier ones; `InstantStyle.minus` embeds them.

        All of them share one `content_scale`, None keeps it; raises `StyleError` for a second one.
        """
        if self.content_embeds is None:
            return self.with_content(content, content_embeds, content_scale, kinds=kinds, files=files)
        if content_scale is not None:
            check_removal(self.removal, content_scale)
        if content_scale not in (None, self.content_scale):
            raise StyleError(
                f"{self!r} has content removed × {self.content_scale:g} already, and one scale applies to all "
                f"words; give that one, or call with_removal({content_scale:g}) first."
            )
        if content_embeds.shape[1:] != self.content_embeds.shape[1:]:
            return self.with_content(content, content_embeds, kinds=kinds)  # refuses it
        embeds = torch.cat([self.content_embeds, content_embeds.to(self.content_embeds)])
        words: list[ContentKind] = ["words"] * (len(self.content) + len(content))
        earlier, later = words[: len(self.content)], words[len(self.content) :]
        return self.with_content(
            [*self.content, *content],
            embeds,
            kinds=[*(self.content_kinds or earlier), *(kinds or later)],
            files=[*(self.content_files or (None,) * len(earlier)), *(files or (None,) * len(later))],
        )

    def with_removal(
        self, content_scale: float | None = None, removal: str | None = None, mask_quantile: float | None = None
    ) -> "Style":
        """Change how much content is removed, and how.

        Args:
            content_scale: How much is removed. None keeps the scale; with another removal it selects that one's
                default (`CONTENT_SCALES`), as a scale has another meaning in each.
            removal: How it is removed; None keeps the removal.
            mask_quantile: The share of elements that `mask` keeps; None keeps it, or separates clusters where the
                removal changes.

        Returns:
            The changed style; it stays bound only where nothing changes.

        Raises:
            StyleError: There is no such removal, or the style has keys and values only.
        """
        is_same = removal is None or removal == self.removal
        removal = self.removal if removal is None else removal
        check_removal(removal, self.content_scale if content_scale is None else content_scale)
        if content_scale is None:
            content_scale = self.content_scale if is_same else default_scale(removal)
        if mask_quantile is None and is_same:
            mask_quantile = self.mask_quantile
        has_effect = bool(self.content) or bool({removal, self.removal} & {*WORDLESS})
        before, after = (self.content_scale, self.removal, self.mask_quantile), (content_scale, removal, mask_quantile)
        if changes := has_effect and before != after:
            self.check_ingredients()
        bindings = () if changes else self.bindings
        removed = {"content_scale": content_scale, "removal": removal, "mask_quantile": mask_quantile}
        return replace(self, **removed, bindings=bindings)

    def with_blend(self, colour_scale: float | None = None, texture_scale: float | None = None) -> "Style":
        """Change how much of the colours and of the texture a blend has.

        Args:
            colour_scale: α of `colour_texture`; None keeps it.
            texture_scale: τ; None keeps it.

        Returns:
            The changed style; it stays bound only where nothing changes.

        Raises:
            StyleError: The style is no blend, or a scale is not a finite number.
        """
        if self.texture is None:
            raise StyleError(
                f"{self!r} is no blend of colours and texture; give it a texture (texture=, --texture-from), or "
                "make one of two styles with Style.blend."
            )
        scales = {"colour_scale": colour_scale, "texture_scale": texture_scale}
        given = {name: scale for name, scale in scales.items() if scale is not None}
        check_blend_scales(**given)
        texture = replace(self.texture, **given)
        changes = any(getattr(self.texture, name) != scale for name, scale in given.items())
        return replace(self, texture=texture, bindings=() if changes else self.bindings)

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
        dropped = {"content_embeds": None, "grey_embeds": None, "texture": None}
        return replace(self, **NO_EMBEDDINGS, combine="average", **dropped)

    @staticmethod
    def blend(
        colour: "Style", texture: "Style", *, colour_scale: float = COLOUR_SCALE, texture_scale: float = TEXTURE_SCALE
    ) -> "Style":
        """Blend the colours of one style with the texture of another, as SADis does: `colour_texture`.

        The texture's content is removed from the blend, at its scale; the colours' cancels out.

        Args:
            colour: The style whose colours are used; made with `keep_grey`.
            texture: The style whose texture is used; made with `keep_grey`.
            colour_scale: α, 0 for no colours.
            texture_scale: τ, 0 for no texture.

        Returns:
            A style that keeps both apart: `with_blend` changes the scales, `with_removal` what is removed.

        Raises:
            StyleError: The styles are of different encoders, have no grey embeddings, or are blends themselves.
        """
        check_blend_scales(colour_scale=colour_scale, texture_scale=texture_scale)
        blended = Style(**blended_fields(colour, texture, float(colour_scale), float(texture_scale)))
        return replace(blended, source=source_of_blend(colour, texture, blended))

    @staticmethod
    def mix(parts: Any, *, on: str | None = None) -> "Style":
        """Mix styles by weight, in any order with the same result: `Style.mix({"ink": 0.7, "neon": 0.3})`.

        A mix of embeddings is not bound, as an adapter is not linear in them; one of keys is bound where all are.

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
