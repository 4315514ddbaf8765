"""Styles from references: images are encoded, saved styles loaded, and content is removed."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import StyleError
from ..imaging.loading import check_crop, decode_and_hash, open_reference
from ..imaging.thumbnail import make_thumbnail
from ..recipe_types import WORDLESS, Combine, Crop, Reference, Removal
from ..utils.numbers import is_finite_number, read_numbers
from ..utils.text import shorten
from .colour_texture import COLOUR_SCALE, TEXTURE_SCALE
from .conditioning import StyleConditioning, check_without_style
from .content_inputs import Content, as_content_list, embed_contents, is_no_content
from .ip_adapter import IPAdapter, missing_adapter_error
from .protocols import ContentEncoder, Pipeline, PipelineArguments
from .reference_encoder import ContentScale, ReferenceEncoder, resolve_content_scale
from .reference_inputs import ReferenceLike, as_sources, check_unused_crop, find_saved
from .style import Style
from .style_source import source_of_images
from .text_encoder import TextEncoder, find_text_encoder, missing_text_encoder_error

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
    name: str = ""
    """Name of the adapter beside others; empty for the first."""
    content_advice: str = ""
    """What to do where words are to be removed and there is no text encoder; empty for one to pass from Python."""

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
        if checkpoint is None or not checkpoint.reads_embedding:
            return cls(adapter, reference_encoder, None)
        width = checkpoint.embedding_dim
        is_siglip = reference_encoder is not None and reference_encoder.encoder.is_siglip
        encoder = find_text_encoder(pipe, width) if text_encoder is None else TextEncoder(*text_encoder)
        if encoder is not None and encoder.is_siglip != is_siglip:
            if text_encoder is None:
                return cls(adapter, reference_encoder, None)
            kinds = ("a CLIP", "a SigLIP") if is_siglip else ("a SigLIP", "a CLIP")
            raise StyleError(
                f"The text encoder is of {kinds[0]}, the image encoder of {kinds[1]}: they do not share a space. Pass "
                "the text encoder that was trained with the image encoder."
            )
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
        content: Content | None = None,
        content_scale: ContentScale | None = None,
        removal: Removal | None = None,
        mask_quantile: float | None = None,
        crop: Crop = "center",
        weights: Sequence[float] | None = None,
        combine: Combine = "average",
        texture: References | None = None,
        colour_scale: float | None = None,
        texture_scale: float | None = None,
        keep_grey: bool = False,
    ) -> Style:
        """Make a style from references, see `InstantStyle.style`."""
        style = self._combine(reference, crop, weights, combine, keep_grey or texture is not None)
        if keep_grey and style.grey_embeds is None:
            raise StyleError(
                f"keep_grey has no effect on {style.name}, a ready style; make that from its images again."
            )
        scales = {"colour_scale": colour_scale, "texture_scale": texture_scale}
        given = {name: scale for name, scale in scales.items() if scale is not None}
        if texture is not None:
            other = self._combine(texture, crop, None, "average", True)
            style = Style.blend(style, other, **{"colour_scale": COLOUR_SCALE, "texture_scale": TEXTURE_SCALE} | given)
        elif given:
            style = style.with_blend(**given)
        return self.without_content(style, content, content_scale, removal, mask_quantile)

    def _combine(
        self,
        reference: References,
        crop: Crop,
        weights: Sequence[float] | None,
        combine: Combine,
        keep_grey: bool,
    ) -> Style:
        """Make a style from references, without removing content."""
        if isinstance(reference, Mapping):
            if weights is not None:
                raise StyleError("weights beside a mapping from references to weights; give one of them.")
            reference, weights = list(reference), list(reference.values())
        check_crop(crop)
        sources = as_sources(reference)
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
            return self._encode(cast("list[ReferenceLike]", sources), crop, shares, combine, keep_grey)
        if len(shares) != len(sources):
            raise StyleError(f"{len(sources)} references have {len(shares)} weights; give one for each.")
        if all(saved):
            check_unused_crop(crop)
        if combine != "average":
            raise StyleError(f"Ready styles are mixed, and cannot be combined by {combine!r}; leave it out.")
        styles = [
            style or self._encode([cast(ReferenceLike, source)], crop, [1.0], "average", keep_grey)
            for source, style in zip(sources, saved, strict=True)
        ]
        if len(styles) > 1 or not shares[0] > 0:
            styles = [Style.mix(zip(styles, shares, strict=True))]
        return styles[0]

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
        content: Content | None,
        content_scale: ContentScale | None,
        removal: Removal | None,
        mask_quantile: float | None,
        settings: PipelineArguments,
    ) -> Style | list[Style] | list[StyleConditioning] | None:
        """Convert the arguments of a call to styles without their content; None for the plain pipeline.

        Args:
            style: The style of the call.
            crop: As in `InstantStyle.__call__`.
            content: As in `InstantStyle.__call__`.
            content_scale: As in `InstantStyle.__call__`.
            removal: As in `InstantStyle.__call__`.
            mask_quantile: As in `InstantStyle.__call__`.
            settings: Fields of `StyleConditioning` beside the style.

        Raises:
            StyleError: There are arguments without effect: any of them beside no style, a crop beside ready styles.
        """
        removes = {
            **{"content": content, "content_scale": content_scale},
            **{"removal": removal, "mask_quantile": mask_quantile},
        }
        changes = [name for name, value in removes.items() if value is not None]
        if style is None:
            if changes:
                raise StyleError(f"{changes[0]} says what is removed from a style, but style is None.")
            check_without_style(settings, crop)
            return None
        styles = self.as_styles(style, crop)
        return self.without_content_each(styles, *removes.values()) if changes else styles

    def minus(self, style: Style | ReferenceLike, content: Content, content_scale: float | None = None) -> Style:
        """Remove content beside any that is removed already, see `InstantStyle.minus`."""
        ready = self.as_style(style)
        names, embeds, described = self._embed_content(ready, content)
        return ready.minus(names, embeds, content_scale, **described)

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
        content: Content | None,
        scale: ContentScale | None,
        removal: Removal | None,
        mask_quantile: float | None = None,
    ) -> Style:
        """Remove content from a style; None leaves content, scale, removal or quantile as they are."""
        if not is_no_content(content):
            names, embeds, described = self._embed_content(style, content)
            style = style.with_content(names, embeds, removal=removal, **described)
        elif not style.content and not {style.removal, removal} & {*WORDLESS}:
            given = {
                **{"content_scale": scale if is_finite_number(scale) else None, "mask_quantile": mask_quantile},
                "removal": None if removal == style.removal else removal,
            }
            style.with_removal(removal=removal)  # refuses what is no removal
            if idle := [f"{name}={value!r}" for name, value in given.items() if value is not None]:
                raise StyleError(f"{idle[0]} has no effect without words to remove; pass content=.")
        resolved = resolve_content_scale(scale, style.with_removal(removal=removal), self.reference_encoder)
        return style.with_removal(resolved, removal, mask_quantile)

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

    def _encode(
        self,
        sources: Sequence[ReferenceLike],
        crop: Crop,
        weights: Sequence[float],
        combine: Combine,
        keep_grey: bool,
    ) -> Style:
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
        # In one call: afterwards the encoder may be freed.
        greys = [image.convert("L").convert("RGB") for image in images] if keep_grey else []
        embeds, unconditional = encoder.encode([*images, *greys], crop)
        names = (Path(each).name if isinstance(each, str | Path) else "image" for each in sources)
        return Style(
            embeds[: len(images)],
            unconditional,
            tuple(weights),
            combine,
            grey_embeds=embeds[len(images) :] if keep_grey else None,
            name=" + ".join(names),
            encoder=encoder.encoder.name,
            encoder_fingerprint=fingerprint,
            crop=crop,
            thumbnail=make_thumbnail(images),
            source=source_of_images(files),
            adapter=self.name,
        )

    def _embed_content(
        self, style: Style, content: object
    ) -> tuple[list[str], Float[Tensor, "phrases *features dim"], dict[str, Any]]:
        """Return names, embeddings, and what else `Style.with_content` describes of them."""

        def text_encoder() -> ContentEncoder:
            if self.adapter.checkpoint is None:
                raise missing_adapter_error(self.adapter.family)
            if self.text_encoder is None:
                raise missing_text_encoder_error(style.dim, self.content_advice)
            return self.text_encoder

        style.check_ingredients()
        entries = as_content_list(content)
        embedded = embed_contents(
            entries, style, text_encoder, self.require_reference_encoder, self.adapter.architecture
        )
        return embedded.names, embedded.embeds, {"kinds": embedded.kinds, "files": embedded.files}
