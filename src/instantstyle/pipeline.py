"""InstantStyle (arXiv 2404.02733) around a diffusers pipeline: the style of a picture without its subject."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from .adapter import Adapter, injected, side_by_side
from .architectures import Architecture
from .blocks import Spec
from .calling import check_arguments, check_drawn, check_pipeline, generators, known_to, pictures_asked
from .checkpoint import AdapterFile
from .encoders import ImageEncoder, TextEncoder, no_text_encoder, text_encoder_of
from .errors import ModelError, StyleError
from .images import open_reference
from .moment import Moment
from .sight import Sight
from .style import Style
from .use import Mask, Use, as_uses

Reference = str | Path | Image.Image

Styling = Style | Reference | Use | Sequence[Reference] | Sequence[Style] | Sequence[Use]
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
        adapter: Any,
        image_encoder: Any = None,
        text_encoder: tuple[Any, Any] | None = None,
        architecture: Architecture | None = None,
        defaults: Mapping[str, Any] | None = None,
        keep_encoder: bool = True,
    ) -> None:
        """`adapter`: a path (.safetensors, .bin) or a state dict. `image_encoder`: a model or its folder;
        None is the pipeline's own. `text_encoder`: model and tokenizer of the image encoder's space; None is
        the pipeline's `text_encoder_2` if it fits. `architecture` is found from the network unless given;
        `defaults` are call arguments that hold where a caller gives none. `keep_encoder=False` frees the
        image encoder after each look at a reference; references that were seen are remembered either way.
        """
        check_pipeline(pipe)
        self.pipe = pipe
        self.adapter = Adapter(AdapterFile.open(adapter), pipe.unet, architecture)
        kind, encoder = self.adapter.file.kind, _image_encoder(pipe, image_encoder)
        encoder.check_fits(kind, self.adapter.file.embedding_dim)
        self.sight = Sight(encoder, of_patches=kind != "base", keep_encoder=keep_encoder)
        self.text_encoder = self._text_encoder(text_encoder)
        self.defaults = dict(defaults or {})

    def around(self, pipe: Any) -> "InstantStyle":
        """The same adapter and encoders around another pipeline: image-to-image, inpainting, ControlNet …

        photo = styled.around(StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe))
        """
        check_pipeline(pipe)
        other = copy(self)
        other.pipe, other.defaults = pipe, known_to(pipe, self.defaults)
        if pipe.unet is not self.pipe.unet:
            other.adapter = Adapter(self.adapter.file, pipe.unet)
        return other

    @property
    def image_encoder(self) -> ImageEncoder:
        """What references are seen with."""
        return self.sight.encoder

    @property
    def architecture(self) -> Architecture:
        """The network's blocks and roles."""
        return self.adapter.architecture

    def style(
        self,
        reference: Reference | Sequence[Reference],
        *,
        content: str | Sequence[str] | None = None,
        content_scale: float | None = None,
        removal: str | None = None,
        crop: str = "center",
        weights: Sequence[float] | None = None,
        combine: str = "average",
    ) -> Style:
        """A reusable `Style` from one reference or several; `content` names what is to be taken out.

        `combine`: `average`, weighted, or `concat`, all their tokens side by side; in any order the same.
        """
        sources = [reference] if isinstance(reference, Reference) else list(reference)
        images = [open_reference(source) for source in sources]
        if not images:
            raise StyleError("A style needs a reference; the list of them is empty.")
        style = self._seen(images, crop, tuple(map(float, weights or [1.0] * len(images))), _name(sources))
        return self._without(replace(style, combine=combine), content, content_scale, removal)

    @contextmanager
    def using(
        self,
        style: Styling,
        *,
        blocks: Spec = "style",
        scale: float = 1.0,
        mask: Mask | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | Reference | None = None,
    ) -> Iterator[Any]:
        """Inside the `with` block the plain pipeline draws in this style.

        Blocks nest: the style of one picture, the layout of another; where both name a layer, the inner acts.
        """
        away = None if negative_style is None else self._as_style(negative_style)
        when = {"start": start, "end": end, "curve": curve}
        ready = self._as_styling(style)
        uses = as_uses(ready, blocks=blocks, scale=scale, mask=mask, negative=away, **when)
        moment = Moment(self.pipe)
        watching = moment.watching() if any(use.needs_watching for use in uses) else nullcontext()
        bound = side_by_side(self.adapter.bind(use) for use in uses)
        with injected(self.pipe.unet, bound, moment), watching:
            yield self.pipe

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        style: Styling | None = None,
        content: str | Sequence[str] | None = None,
        content_scale: float | None = None,
        removal: str | None = None,
        crop: str = "center",
        blocks: Spec = "style",
        scale: float = 1.0,
        mask: Mask | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | Reference | None = None,
        seed: int | None = None,
        num_images_per_prompt: int = 1,
        **arguments: Any,
    ) -> Any:
        """Draw; returns what the pipeline returns. Other arguments are the pipeline's own.

        `style`: a reference or several, a ready `Style`, one `Style` for each prompt, or `Use`s of styles
        that act together. `blocks`: a role (`"style"`, `"layout"`, `"style+layout"`, `"all"`), a mode
        (`"precise-style"`), names, patterns, or a mapping from them to weights. `scale`: 0 is the plain
        pipeline, 1 the adapter as trained. `mask`: white where the style acts; `start`, `end`, `curve`: when,
        in shares of the steps; `negative_style`: what to draw away from. Picture i of the call is drawn from
        `seed + i`, alone or in a batch. `content_scale` and `removal` are 0.5 and `"subtract"` where neither
        the call nor a ready `Style` says otherwise.
        """
        check_arguments(self.pipe, arguments, self.__call__)
        arguments = {**self.defaults, **arguments}
        arguments |= generators(seed, arguments, pictures_asked(prompt, num_images_per_prompt, arguments))
        styling = nullcontext()
        if style is not None:
            ready = self._as_styling(style, crop)
            if content or content_scale is not None or removal is not None:
                ready = self._each_without(ready, content, content_scale, removal)
            where = {"blocks": blocks, "scale": scale, "mask": mask, "negative_style": negative_style}
            styling = self.using(ready, **where, start=start, end=end, curve=curve)
        elif content is not None:
            raise StyleError(f"content={content!r} is to be taken out of a style, and style is None.")
        with styling:
            out = self.pipe(prompt=prompt, num_images_per_prompt=num_images_per_prompt, **arguments)
        check_drawn(out, self.pipe)
        return out

    def _as_style(self, given: Style | Reference | Sequence[Reference], crop: str = "center") -> Style:
        return given if isinstance(given, Style) else self.style(given, crop=crop)

    def _as_styling(self, given: Any, crop: str = "center") -> Style | list[Style] | list[Use]:
        """References made styles; a list of references is one style, of styles one for each prompt."""
        if isinstance(given, Use):
            return [given]
        kinds = {type(one) for one in given} if isinstance(given, list | tuple) else set()
        if not kinds & {Style, Use}:
            return self._as_style(given, crop)
        if len(kinds) > 1:
            raise StyleError("References, styles and uses are mixed in one list; make all of them a Use.")
        return list(given)

    def _each_without(self, styling: Any, *removal: Any) -> Any:
        if isinstance(styling, Style):
            return self._without(styling, *removal)
        if all(isinstance(one, Style) for one in styling):
            return [self._without(one, *removal) for one in styling]
        raise StyleError("content beside a Use: take it out of the Use's style, styled.style(…, content=…).")

    def _seen(self, images: list[Image.Image], crop: str, weights: tuple[float, ...], name: str) -> Style:
        embeds, blank = self.sight.look(images, crop)
        return Style(embeds, blank, weights, name=name, encoder=self.image_encoder.name)

    def _without(
        self, style: Style, content: str | Sequence[str] | None, scale: float | None, removal: str | None
    ) -> Style:
        if not content:
            return style.tuned(scale, removal)
        style.check_removable()
        phrases = [content] if isinstance(content, str) else list(content)
        if self.text_encoder is None:
            raise no_text_encoder(style.dim)
        return style.with_content(phrases, self.text_encoder.embed(phrases), scale, removal)

    def _text_encoder(self, given: tuple[Any, Any] | None) -> TextEncoder | None:
        width = self.adapter.file.embedding_dim
        if self.adapter.file.kind != "base":
            return None
        if given is None:
            return text_encoder_of(self.pipe, width)
        encoder = TextEncoder(*given)
        if encoder.projection_dim != width:
            raise StyleError(
                f"The text encoder projects to {encoder.projection_dim}, the image encoder to {width}: "
                "they do not share a space. Give the text tower that was trained with the image tower."
            )
        return encoder


def _image_encoder(pipe: Any, given: Any) -> ImageEncoder:
    source = getattr(pipe, "image_encoder", None) if given is None else given
    if source is None:
        raise ModelError(
            "There is no image encoder to see a reference with; pass image_encoder=, a model or a folder."
        )
    return ImageEncoder.open(source)


def _name(sources: Sequence[Reference]) -> str:
    names = [Path(source).name if isinstance(source, str | Path) else "picture" for source in sources]
    return " + ".join(names)
