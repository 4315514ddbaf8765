"""Styles from references: images are encoded, saved styles loaded, and content is removed."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import StyleError
from ..imaging.loading import ImageLike, check_crop, decode_and_hash, is_image_like, open_reference
from ..imaging.thumbnail import make_thumbnail
from ..recipe import Combine, Crop, Reference, Removal
from ..utils.numbers import is_finite_number, read_numbers
from ..utils.text import find_text_fault, shorten
from .conditioning import StyleConditioning, find_changed_settings
from .content_removal import CLEAN
from .ip_adapter import IPAdapter, missing_adapter_error
from .protocols import ContentEncoder, Pipeline, PipelineArguments
from .reference_encoder import ContentScale, ReferenceEncoder, resolve_content_scale
from .style import Style
from .style_library import find_style_file
from .style_source import source_of_images
from .text_encoder import TextEncoder, find_text_encoder, missing_text_encoder_error

ReferenceLike = ImageLike
"""An image, its file or bytes, or an array or tensor (`imaging.arrays`); or a saved style: its .style.safetensors
file, or its name in the library."""

References = Style | ReferenceLike | Sequence[Style | ReferenceLike] | Mapping[str | Path, float]
"""One reference or several of one style, or a mapping from names or files to their weights."""

StyleLike = References | StyleConditioning | Sequence[Style] | Sequence[StyleConditioning]
"""References of one style, a ready style, one style for each prompt, or conditionings that add up."""


@dataclass(eq=False)
class StyleBuilder:
    """Encoders, and the adapter that styles are made for. `InstantStyle.style` documents the arguments."""

    adapter: IPAdapter
    reference_encoder: ReferenceEncoder | None
    text_encoder: ContentEncoder | None

    @classmethod
    def open(
        cls,
        pipe: Pipeline,
        adapter: IPAdapter,
        image_encoder: object,
        text_encoder: tuple[object, object] | None,
        keep_encoder: bool,
    ) -> "StyleBuilder":
        """Open the encoders of an adapter.

        Raises:
            CheckpointError: The image encoder cannot be read or does not fit.
            ModelError: There is an adapter, but no image encoder.
            StyleError: The text encoder does not share the image encoder's space.
        """
        checkpoint = adapter.checkpoint
        reference_encoder = ReferenceEncoder.for_checkpoint(checkpoint, image_encoder, keep_encoder)
        if checkpoint is None or checkpoint.projection_type != "base":
            return cls(adapter, reference_encoder, None)
        width = checkpoint.embedding_dim
        encoder = find_text_encoder(pipe, width) if text_encoder is None else TextEncoder(*text_encoder)
        if encoder is not None and encoder.projection_dim != width:
            raise StyleError(
                f"The text encoder projects to width {encoder.projection_dim}, the image encoder to {width}: "
                "they do not share a space. Pass the text encoder that was trained with the image encoder."
            )
        return cls(adapter, reference_encoder, encoder)

    def require_reference_encoder(self) -> ReferenceEncoder:
        """Return the image encoder; raise `StyleError` if there is none."""
        if self.reference_encoder is None:
            raise missing_adapter_error(self.adapter.family)
        return self.reference_encoder

    def build(
        self,
        reference: References,
        *,
        content: str | Sequence[str] | None = None,
        content_scale: ContentScale | None = None,
        removal: Removal | None = None,
        crop: Crop = "center",
        weights: Sequence[float] | None = None,
        combine: Combine = "average",
    ) -> Style:
        """Make a style from references, see `InstantStyle.style`."""
        if isinstance(reference, Mapping):
            if weights is not None:
                raise StyleError("weights beside a mapping from references to weights; give one of them.")
            reference, weights = list(reference), list(reference.values())
        check_crop(crop)
        sources = _as_sources(reference)
        shares = [1.0] * len(sources)
        if weights is not None:
            numbers = read_numbers(weights)
            if numbers is None:
                raise StyleError(f"weights are {shorten(weights)}; they are finite numbers, one for each reference.")
            shares = numbers
        if not sources:
            raise StyleError("A style needs a reference; the list of them is empty.")
        saved = [find_saved(source) for source in sources]
        if not any(saved):
            style = replace(self._encode(cast("list[ReferenceLike]", sources), crop, shares), combine=combine)
            return self.without_content(style, content, content_scale, removal)
        if len(shares) != len(sources):
            raise StyleError(f"{len(sources)} references have {len(shares)} weights; give one for each.")
        if all(saved):
            check_unused_crop(crop)
        if combine != "average":
            raise StyleError(f"Ready styles are mixed, and cannot be combined by {combine!r}; leave it out.")
        styles = [
            style or self._encode([cast(ReferenceLike, source)], crop, [1.0])
            for source, style in zip(sources, saved, strict=True)
        ]
        if len(styles) > 1 or not shares[0] > 0:
            styles = [Style.mix(zip(styles, shares, strict=True))]
        return self.without_content(styles[0], content, content_scale, removal)

    def as_style(self, style: References, crop: Crop = "center") -> Style:
        """Return a ready style unchanged; make one from references."""
        return style if isinstance(style, Style) else self.build(style, crop=crop)

    def as_styles(self, style: StyleLike, crop: Crop = "center") -> Style | list[Style] | list[StyleConditioning]:
        """Convert references to styles: a list of references is one style, a list of styles one for each prompt.

        Raises:
            StyleError: A list mixes references, styles and conditionings.
        """
        if isinstance(style, Style | StyleConditioning):
            check_unused_crop(crop)
            return style if isinstance(style, Style) else [style]
        types = {type(one) for one in style} if isinstance(style, list | tuple) else set[type]()
        if not types & {Style, StyleConditioning}:
            return self.as_style(cast(Any, style), crop)
        if len(types) > 1:
            raise StyleError(
                "A list mixes references, styles and conditionings; make all of them a StyleConditioning."
            )
        check_unused_crop(crop)
        return cast(Any, list(cast("Sequence[Any]", style)))

    def for_call(
        self,
        style: StyleLike | None,
        crop: Crop,
        content: str | Sequence[str] | None,
        content_scale: ContentScale | None,
        removal: Removal | None,
        settings: PipelineArguments,
    ) -> Style | list[Style] | list[StyleConditioning] | None:
        """Convert the arguments of a call to styles without their content; None for the plain pipeline.

        Args:
            style: The style of the call.
            crop: As in `InstantStyle.__call__`.
            content: As in `InstantStyle.__call__`.
            content_scale: As in `InstantStyle.__call__`.
            removal: As in `InstantStyle.__call__`.
            settings: Fields of `StyleConditioning` beside the style.

        Raises:
            StyleError: There are arguments without effect: any of them beside no style, a crop beside ready styles.
        """
        removes = {"content": content, "content_scale": content_scale, "removal": removal}
        changes = [name for name, value in removes.items() if value is not None]
        if style is None:
            if changes:
                raise StyleError(f"{changes[0]} says what is removed from a style, but style is None.")
            crops = [] if crop == "center" else ["crop"]
            if idle := [*crops, *find_changed_settings(settings)]:
                raise StyleError(f"{idle[0]} is given, but style is None, so that it has no effect; pass style=.")
            return None
        styles = self.as_styles(style, crop)
        return self.without_content_each(styles, content, content_scale, removal) if changes else styles

    def minus(
        self, style: Style | ReferenceLike, content: str | Sequence[str], content_scale: float | None = None
    ) -> Style:
        """Remove words beside any that are removed already, see `InstantStyle.minus`."""
        ready, phrases = self.as_style(style), _as_list(content)
        return ready.minus(phrases, self._embed_content(ready, phrases), content_scale)

    def check_encoders(self, styles: Iterable[Style]) -> None:
        """Check that styles come from this image encoder, if there is one.

        Keys and values bound for this family are used as they are, whichever encoder they come from.

        Raises:
            StyleError: A style comes from another encoder.
        """
        if self.reference_encoder is not None:
            for style in styles:
                if style.bound_for(self.adapter.family) is None:
                    style.check_encoder(self.reference_encoder.encoder)

    def without_content(
        self,
        style: Style,
        content: str | Sequence[str] | None,
        scale: ContentScale | None,
        removal: Removal | None,
    ) -> Style:
        """Remove content from a style; None leaves content, scale or removal as they are."""
        if content is not None and content != "":
            phrases = _as_list(content)
            style = style.with_content(phrases, self._embed_content(style, phrases), removal=removal)
        elif is_finite_number(scale) and not style.content and style.with_removal(removal=removal).removal != CLEAN:
            raise StyleError(f"content_scale={scale!r} has no effect without words to remove; pass content=.")
        resolved = resolve_content_scale(scale, style.with_removal(removal=removal), self.reference_encoder)
        return style.with_removal(resolved, removal)

    def without_content_each(
        self, styles: Style | list[Style] | list[StyleConditioning], *removal: Any
    ) -> Style | list[Style]:
        """Remove content from a style, or from the style of each prompt.

        Raises:
            StyleError: There are conditionings, whose styles have content of their own.
        """
        if isinstance(styles, Style):
            return self.without_content(styles, *removal)
        ready = [style for style in styles if isinstance(style, Style)]
        if len(ready) < len(styles):
            raise StyleError(
                "content beside a StyleConditioning: remove it from its style, styled.style(…, content=…)."
            )
        return [self.without_content(style, *removal) for style in ready]

    def _encode(self, sources: Sequence[ReferenceLike], crop: Crop, weights: Sequence[float]) -> Style:
        one = len(sources) == 1
        images: list[Image.Image] = []
        files: list[Reference | None] = []
        for number, source in enumerate(sources, start=1):
            if isinstance(source, str | Path):
                image, digest = decode_and_hash(source, open_reference)
                file = Reference(name=str(Path(source)), sha256=digest)
            else:
                image, file = open_reference(source, "reference" if one else f"reference {number}"), None
            images.append(image)
            files.append(file)
        encoder = self.require_reference_encoder()
        # Before encoding: afterwards the weights may be freed.
        fingerprint = encoder.encoder.fingerprint
        image_embeds, unconditional = encoder.encode(images, crop)
        names = (Path(each).name if isinstance(each, str | Path) else "image" for each in sources)
        return Style(
            image_embeds,
            unconditional,
            tuple(weights),
            name=" + ".join(names),
            encoder=encoder.encoder.name,
            encoder_fingerprint=fingerprint,
            crop=crop,
            thumbnail=make_thumbnail(images),
            source=source_of_images(files),
        )

    def _embed_content(self, style: Style, phrases: Sequence[str]) -> Float[Tensor, "phrases dim"]:
        style.check_removable()
        if self.adapter.checkpoint is None:
            raise missing_adapter_error(self.adapter.family)
        if self.text_encoder is None:
            raise missing_text_encoder_error(style.dim)
        return self.text_encoder.embed(phrases)


def _as_sources(reference: object) -> list[Style | ReferenceLike]:
    """Return one reference or several as a list."""
    if isinstance(reference, Style) or is_image_like(reference):
        return [reference]
    if not isinstance(reference, Iterable):
        raise StyleError(
            f"reference is {type(reference).__name__}; pass an image, its path, a style, or a list of these."
        )
    return list(cast("Iterable[Style | ReferenceLike]", reference))


def _as_list(content: str | Sequence[str]) -> list[str]:
    phrases = cast(object, [content] if isinstance(content, str) else content)
    entries = list(cast("Iterable[object]", phrases)) if isinstance(phrases, list | tuple) else [None]
    if not entries or not all(
        isinstance(entry, str) and entry.strip() and find_text_fault(entry) is None for entry in entries
    ):
        raise StyleError(
            f"content is {shorten(content)}; it is words for what the references show, such as 'a cat', or several."
        )
    return cast("list[str]", entries)


def check_unused_crop(crop: object) -> None:
    """Raise `StyleError` if a crop is given where no image is encoded."""
    if crop != "center":
        raise StyleError(
            f"crop={shorten(crop)} has no effect on ready styles; pass it where their images are encoded."
        )


def find_saved(source: object) -> Style | None:
    """Return a ready style, or load the one that a path or a library name stands for; None for an image.

    Raises:
        StyleError: The source is a style file that cannot be read.
    """
    if isinstance(source, Style):
        return source
    path = find_style_file(source)
    return None if path is None else Style.load(path)
