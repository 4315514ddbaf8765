"""InstantStyle (arXiv 2404.02733) around a diffusers pipeline: the style of a picture without its subject."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ModelError, StyleError
from ..imaging.loading import open_reference
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec
from .clip_encoders import ImageEncoder, TextEncoder, find_text_encoder, missing_text_encoder_error
from .conditioning import Mask, StyleConditioning, as_conditionings
from .denoising_state import DenoisingState
from .guidance_interval import GuidanceInterval, limit_guidance
from .ip_adapter import IPAdapter, inject_attention_processors, merge_bound_styles, missing_adapter_error
from .pipeline_checks import (
    check_arguments,
    check_output,
    check_pipeline,
    make_generators,
    num_images,
    supported_arguments,
)
from .reference_encoder import ContentScale, ReferenceEncoder, resolve_content_scale
from .style import Style, find_saved

ReferenceLike = str | Path | Image.Image
"""A picture or its file; or a saved style: its .style.safetensors file, or its name in the library."""

StyleLike = (
    Style
    | ReferenceLike
    | StyleConditioning
    | Sequence[ReferenceLike]
    | Sequence[Style]
    | Sequence[StyleConditioning]
)
"""A reference or several for one style, a ready style, one for each prompt, or uses that act together."""


class InstantStyle:
    """A diffusers UNet pipeline that can draw in the style of a reference.

    The pipeline stays as it is; a style is put into its UNet for a call, or for a `with` block, and taken
    out again.
    """

    def __init__(
        self,
        pipe: Any,
        *,
        adapter: Any = None,
        image_encoder: Any = None,
        text_encoder: tuple[Any, Any] | None = None,
        architecture: Architecture | None = None,
        defaults: Mapping[str, Any] | None = None,
        keep_encoder: bool = True,
    ) -> None:
        """`adapter`: a path (.safetensors, .bin) or a state dict; None: bound styles draw, and no others.
        `image_encoder`: a model or its folder; None is the pipeline's own. `text_encoder`: model and
        tokenizer of the image encoder's space; None is the pipeline's `text_encoder_2` if it fits.
        `architecture` is found from the network unless given; `defaults` are call arguments that hold where
        a caller gives none. `keep_encoder=False` frees the image encoder after each look at a reference;
        references that were seen are remembered either way.
        """
        check_pipeline(pipe)
        if adapter is None and image_encoder is not None:
            raise ModelError("An image encoder serves an adapter, and there is none; give both or neither.")
        self.pipe = pipe
        file = None if adapter is None else IPAdapterCheckpoint.open(adapter)
        self.adapter = IPAdapter(file, pipe.unet, architecture)
        own = getattr(pipe, "image_encoder", None)
        self._reference_encoder = ReferenceEncoder.for_checkpoint(
            file, own if image_encoder is None else image_encoder, keep_encoder
        )
        self.text_encoder = self._text_encoder(text_encoder)
        self.defaults = dict(defaults or {})

    def with_pipeline(self, pipe: Any) -> "InstantStyle":
        """The same adapter and encoders around another pipeline: image-to-image, inpainting, ControlNet …

        photo = styled.with_pipeline(StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe))
        """
        check_pipeline(pipe)
        other = copy(self)
        other.pipe, other.defaults = pipe, supported_arguments(pipe, self.defaults)
        if pipe.unet is not self.pipe.unet:
            other.adapter = IPAdapter(self.adapter.checkpoint, pipe.unet)
        return other

    @property
    def reference_encoder(self) -> ReferenceEncoder:
        """The image encoder with its memory; `StyleError` where there is none."""
        if self._reference_encoder is None:
            raise missing_adapter_error(self.adapter.family)
        return self._reference_encoder

    @property
    def image_encoder(self) -> ImageEncoder:
        """What references are seen with."""
        return self.reference_encoder.encoder

    @property
    def architecture(self) -> Architecture:
        """The network's blocks and roles."""
        return self.adapter.architecture

    def style(
        self,
        reference: Style | ReferenceLike | Sequence[Style | ReferenceLike],
        *,
        content: str | Sequence[str] | None = None,
        content_scale: ContentScale | None = None,
        removal: str | None = None,
        crop: str = "center",
        weights: Sequence[float] | None = None,
        combine: str = "average",
    ) -> Style:
        """A reusable `Style` from one reference or several; `content` names what is to be taken out.

        `combine`: `average`, weighted, or `concat`, all their tokens side by side; in any order the same.
        Where styles are among the references they are mixed, each with what is taken out of it already.
        """
        sources = [reference] if isinstance(reference, Style | ReferenceLike) else list(reference)
        counts = [1.0] * len(sources) if weights is None else [float(weight) for weight in weights]
        if not sources:
            raise StyleError("A style needs a reference; the list of them is empty.")
        styles = [find_saved(source) for source in sources]
        if any(styles):
            style = self._mixed(sources, styles, counts, crop, combine)
        else:
            style = replace(self._seen(sources, crop, counts), combine=combine)
        return self._without(style, content, content_scale, removal)

    def bind(
        self, style: Style | ReferenceLike | Sequence[ReferenceLike], blocks: BlockSpec = "style"
    ) -> Style:
        """The same style with its keys and values for these blocks inside.

        So it draws with any network of this family, where neither adapter nor image encoder need be.
        """
        ready = self._as_style(style)
        self.reference_encoder.check(ready)
        return ready.with_binding(self.adapter.binding(ready, blocks))

    def minus(
        self, style: Style | ReferenceLike, content: str | Sequence[str], content_scale: float | None = None
    ) -> Style:
        """The style with these words taken out beside any that are taken out of it already."""
        ready, phrases = self._as_style(style), _phrases(content)
        return ready.minus(phrases, self._embedded(ready, phrases), content_scale)

    @contextmanager
    def using(
        self,
        style: StyleLike,
        *,
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: Mask | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | ReferenceLike | None = None,
    ) -> Iterator[Any]:
        """Inside the `with` block the plain pipeline draws in this style.

        Blocks nest: the style of one picture, the layout of another; where both name a layer, the inner acts.
        """
        away = None if negative_style is None else self._as_style(negative_style)
        when = {"start": start, "end": end, "curve": curve}
        uses = as_conditionings(
            self._as_styling(style), blocks=blocks, scale=scale, mask=mask, negative_style=away, **when
        )
        self._check_seen_here(uses)
        bound = map(self.adapter.bind, uses)
        with inject_attention_processors(
            self.pipe.unet, merge_bound_styles(bound), DenoisingState(self.pipe)
        ):
            yield self.pipe

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        style: StyleLike | None = None,
        content: str | Sequence[str] | None = None,
        content_scale: ContentScale | None = None,
        removal: str | None = None,
        crop: str = "center",
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: Mask | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | ReferenceLike | None = None,
        guidance_interval: GuidanceInterval | None = None,
        seed: int | None = None,
        num_images_per_prompt: int = 1,
        **arguments: Any,
    ) -> Any:
        """Draw; returns what the pipeline returns. Other arguments are the pipeline's own.

        `style`: a reference or several (pictures, saved styles), a ready `Style`, one `Style` for each
        prompt, or `StyleConditioning`s of styles that act together. `blocks`: a role (`"style"`, `"layout"`, `"all"`), a
        mode (`"precise-style"`), names, patterns, or a mapping from them to weights. `scale`: 0 is the plain
        pipeline, 1 the adapter as trained. `mask`: white where the style acts; `start`, `end`, `curve`: when,
        in shares of the steps; `negative_style`: what to draw away from. Picture i of the call is drawn from
        `seed + i`, alone or in a batch. `content_scale` (a number, or `"auto"`: as much as leaves no more of
        the words than an unrelated picture has) and `removal` are 0.5 and `"subtract"` where neither the call
        nor a ready `Style` says otherwise. `guidance_interval`: when guidance acts, say (0.2, 0.8).
        """
        check_arguments(self.pipe, arguments, self.__call__)
        arguments = {**self.defaults, **arguments}
        arguments |= make_generators(seed, arguments, num_images(prompt, num_images_per_prompt, arguments))
        guidance = (
            nullcontext() if guidance_interval is None else limit_guidance(self.pipe, guidance_interval)
        )
        styling = nullcontext()
        if style is not None:
            ready = self._as_styling(style, crop)
            if content or content_scale is not None or removal is not None:
                ready = self._each_without(ready, content, content_scale, removal)
            where = {"blocks": blocks, "scale": scale, "mask": mask, "negative_style": negative_style}
            styling = self.using(ready, **where, start=start, end=end, curve=curve)
        elif content is not None:
            raise StyleError(f"content={content!r} is to be taken out of a style, and style is None.")
        with guidance, styling:
            out = self.pipe(prompt=prompt, num_images_per_prompt=num_images_per_prompt, **arguments)
        check_output(out, self.pipe)
        return out

    def _as_style(
        self, given: Style | ReferenceLike | Sequence[ReferenceLike], crop: str = "center"
    ) -> Style:
        return given if isinstance(given, Style) else self.style(given, crop=crop)

    def _as_styling(self, given: Any, crop: str = "center") -> Style | list[Style] | list[StyleConditioning]:
        """References made styles; a list of references is one style, of styles one for each prompt."""
        if isinstance(given, StyleConditioning):
            return [given]
        kinds = {type(one) for one in given} if isinstance(given, list | tuple) else set()
        if not kinds & {Style, StyleConditioning}:
            return self._as_style(given, crop)
        if len(kinds) > 1:
            raise StyleError(
                "References, styles and uses are mixed in one list; make all of them a StyleConditioning."
            )
        return list(given)

    def _each_without(self, styling: Any, *removal: Any) -> Any:
        if isinstance(styling, Style):
            return self._without(styling, *removal)
        if all(isinstance(one, Style) for one in styling):
            return [self._without(one, *removal) for one in styling]
        raise StyleError(
            "content beside a StyleConditioning: take it out of the StyleConditioning's style, styled.style(…, content=…)."
        )

    def _seen(self, sources: Sequence[Any], crop: str, weights: Sequence[float]) -> Style:
        images = [open_reference(source) for source in sources]
        return self.reference_encoder.style(images, crop, weights, _name(sources))

    def _mixed(
        self, sources: Any, styles: Sequence[Style | None], weights: Sequence[float], crop: str, combine: str
    ) -> Style:
        """Saved styles, and beside them pictures that are made styles here."""
        if len(weights) != len(sources):
            raise StyleError(f"{len(sources)} references have {len(weights)} weights; give one for each.")
        if combine != "average":
            raise StyleError(f"Ready styles are mixed, and cannot be combined by {combine!r}; leave it out.")
        ready = [
            style or self._seen([source], crop, [1.0]) for source, style in zip(sources, styles, strict=True)
        ]
        return Style.mix(zip(ready, weights, strict=True))

    def _without(
        self,
        style: Style,
        content: str | Sequence[str] | None,
        scale: ContentScale | None,
        removal: str | None,
    ) -> Style:
        if content:
            phrases = _phrases(content)
            style = style.with_content(phrases, self._embedded(style, phrases), removal=removal)
        return style.with_removal(
            resolve_content_scale(scale, style.with_removal(removal=removal), self._reference_encoder),
            removal,
        )

    def _embedded(self, style: Style, phrases: Sequence[str]) -> Any:
        """The words in the space of the image encoder: [phrases dim]."""
        style.check_removable()
        if self.adapter.checkpoint is None:
            raise missing_adapter_error(self.adapter.family)
        if self.text_encoder is None:
            raise missing_text_encoder_error(style.dim)
        return self.text_encoder.embed(phrases)

    def _check_seen_here(self, uses: Sequence[StyleConditioning]) -> None:
        """What is bound for this network acts as it is, whoever saw it."""
        for style in (style for use in uses for style in (*use.styles, use.negative_style) if style):
            if self._reference_encoder is not None and style.bound_for(self.adapter.family) is None:
                self._reference_encoder.check(style)

    def _text_encoder(self, given: tuple[Any, Any] | None) -> TextEncoder | None:
        file = self.adapter.checkpoint
        if file is None or file.projection_type != "base":
            return None
        width = file.embedding_dim
        if given is None:
            return find_text_encoder(self.pipe, width)
        encoder = TextEncoder(*given)
        if encoder.projection_dim != width:
            raise StyleError(
                f"The text encoder projects to {encoder.projection_dim}, the image encoder to {width}: "
                "they do not share a space. Give the text tower that was trained with the image tower."
            )
        return encoder


def _phrases(content: str | Sequence[str]) -> list[str]:
    return [content] if isinstance(content, str) else list(content)


def _name(sources: Sequence[ReferenceLike]) -> str:
    return " + ".join(Path(one).name if isinstance(one, str | Path) else "picture" for one in sources)
