"""InstantStyle (arXiv 2404.02733) around a diffusers pipeline: the style of a reference without its content."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelError, StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import StateDictSource
from ..recipe import Combine, Crop, Removal
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, format_blocks
from ..unet.probe_file import resolve_block_spec
from .clip_encoders import ImageEncoder
from .conditioning import MaskLike, as_conditionings
from .denoising_state import DenoisingState
from .guidance_interval import GuidanceInterval, limit_guidance
from .ip_adapter import IPAdapter, inject_attention_processors, merge_style_layers
from .output import CallRecord, StyledOutput
from .pipeline_checks import (
    check_arguments,
    check_output,
    check_pipeline,
    make_generators,
    num_images,
    supported_arguments,
)
from .protocols import ContentEncoder, Pipeline, PipelineArguments
from .reference_encoder import ContentScale, ReferenceEncoder
from .style import Style
from .style_builder import ReferenceLike, StyleBuilder, StyleLike

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


class InstantStyle:
    """A diffusers UNet pipeline that generates in the style of a reference.

    The pipeline itself is not changed: a style is injected into its UNet for a call, or for a `with` block, and
    removed again.
    """

    def __init__(
        self,
        pipe: "DiffusionPipeline | Pipeline",
        *,
        adapter: StateDictSource | IPAdapterCheckpoint | None = None,
        image_encoder: object = None,
        text_encoder: tuple[object, object] | None = None,
        architecture: Architecture | None = None,
        defaults: PipelineArguments | None = None,
        keep_encoder: bool = True,
        recipe_fields: Mapping[str, str | None] | None = None,
    ) -> None:
        """
        Args:
            pipe: A diffusers pipeline with a UNet.
            adapter: Path of an IP-Adapter (.safetensors, .bin) or a state dict; None allows bound styles only.
            image_encoder: The adapter's image encoder, a model or its folder; None uses the pipeline's own.
            text_encoder: Model and tokenizer that share the image encoder's space; None uses the pipeline's
                `text_encoder_2` if it fits.
            architecture: Blocks and roles; None matches the UNet with the known architectures.
            defaults: Arguments of a call where the caller gives none.
            keep_encoder: Whether to keep the image encoder's weights between uses; embeddings are cached either way.
            recipe_fields: Fields `model`, `adapter` and `image_encoder` of a `Recipe` that load this pipeline again;
                None if images made with it cannot carry a recipe.

        Raises:
            CheckpointError: Adapter or encoder cannot be read, or do not fit.
            ModelError: The pipeline cannot be styled, or there is an encoder without an adapter.
            StyleError: The text encoder does not share the image encoder's space.
        """
        check_pipeline(pipe)
        if adapter is None and image_encoder is not None:
            raise ModelError("An image encoder needs an adapter, and there is none; pass both or neither.")
        self.pipe = cast(Pipeline, pipe)
        checkpoint = None if adapter is None else IPAdapterCheckpoint.open(adapter)
        self.adapter = IPAdapter(checkpoint, self.pipe.unet, architecture)
        encoder = getattr(pipe, "image_encoder", None) if image_encoder is None else image_encoder
        self.builder = StyleBuilder.open(self.pipe, self.adapter, encoder, text_encoder, keep_encoder)
        self.defaults = dict(defaults or {})
        self.recipe_fields = recipe_fields

    def with_pipeline(self, pipe: "DiffusionPipeline | Pipeline") -> "InstantStyle":
        """Share adapter and encoders with another one, `StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe)`."""
        check_pipeline(pipe)
        other = copy(self)
        other.pipe = cast(Pipeline, pipe)
        other.defaults = supported_arguments(other.pipe, self.defaults)
        other.recipe_fields = None
        if other.pipe.unet is not self.pipe.unet:
            other.adapter = IPAdapter(self.adapter.checkpoint, other.pipe.unet)
            other.builder = replace(self.builder, adapter=other.adapter)
        return other

    @property
    def reference_encoder(self) -> ReferenceEncoder:
        """The image encoder with its cache; raises `StyleError` if there is none."""
        return self.builder.require_reference_encoder()

    @property
    def image_encoder(self) -> ImageEncoder:
        """The encoder of reference images; raises `StyleError` if there is none."""
        return self.reference_encoder.encoder

    @property
    def text_encoder(self) -> ContentEncoder | None:
        """The encoder of content, which shares the image encoder's space; None if there is none."""
        return self.builder.text_encoder

    @property
    def architecture(self) -> Architecture:
        """The UNet's blocks and roles."""
        return self.adapter.architecture

    def style(
        self,
        reference: Style | ReferenceLike | Sequence[Style | ReferenceLike],
        *,
        content: str | Sequence[str] | None = None,
        content_scale: ContentScale | None = None,
        removal: Removal | None = None,
        crop: Crop = "center",
        weights: Sequence[float] | None = None,
        combine: Combine = "average",
    ) -> Style:
        """Make a reusable style.

        Args:
            reference: One reference or several, in any order. If one of them is a style, all are mixed, each with its
                own content removed.
            content: Words for what the references show, to be removed.
            content_scale: How much is removed, 0 for nothing, or `"auto"`; None is the removal's default.
            removal: `"subtract"` (the paper's), `"project"`, `"mask"` or `"clean"`; None is `"subtract"`.
            crop: How images are made square: `"center"`, `"pad"` or `"squash"`.
            weights: Weight of each reference; None weights them equally.
            combine: `"average"` computes the weighted mean, `"concat"` puts the tokens side by side.

        Raises:
            ImageError: An image cannot be read.
            StyleError: Arguments do not fit together, or the pipeline has no encoder for them.
        """
        return self.builder.build(
            reference,
            content=content,
            content_scale=content_scale,
            removal=removal,
            crop=crop,
            weights=weights,
            combine=combine,
        )

    def bind(self, style: Style | ReferenceLike | Sequence[ReferenceLike], blocks: BlockSpec = "style") -> Style:
        """Add the keys and values of these blocks to a style.

        The result generates with every network of this family, without adapter and image encoder. Raises `BlockError`
        for unknown blocks, and `StyleError` for a style of another encoder.
        """
        ready = self.builder.as_style(style)
        ready.check_encoder(self.image_encoder)
        return ready.with_binding(self.adapter.bind(ready, self._without_probe_file(blocks)))

    def minus(
        self, style: Style | ReferenceLike, content: str | Sequence[str], content_scale: float | None = None
    ) -> Style:
        """Remove these words beside any that are removed already; `content_scale` applies to all, None keeps it."""
        return self.builder.minus(style, content, content_scale)

    @contextmanager
    def using(
        self,
        style: StyleLike,
        *,
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: MaskLike | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | ReferenceLike | None = None,
    ) -> Generator[Pipeline]:
        """Inject a style into the plain pipeline, which is yielded, for the `with` block; arguments as in a call.

        Blocks nest; in a layer that both select, the inner style acts.
        """
        styles = style if isinstance(style, Style) else self.builder.as_styles(style)
        negative = None if negative_style is None else self.builder.as_style(negative_style)
        conditionings = as_conditionings(
            styles, blocks=blocks, scale=scale, mask=mask, start=start, end=end, curve=curve, negative_style=negative
        )
        if (encoder := self.builder.reference_encoder) is not None:
            for one in (style for each in conditionings for style in (*each.styles, each.negative_style)):
                # Keys and values bound for this family are used as they are, whichever encoder they come from.
                if one is not None and one.bound_for(self.adapter.family) is None:
                    one.check_encoder(encoder.encoder)
        conditionings = [replace(each, blocks=self._without_probe_file(each.blocks)) for each in conditionings]
        layers = map(self.adapter.style_layers, conditionings)
        with inject_attention_processors(self.pipe.unet, merge_style_layers(layers), DenoisingState(self.pipe)):
            yield self.pipe

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        style: StyleLike | None = None,
        content: str | Sequence[str] | None = None,
        content_scale: ContentScale | None = None,
        removal: Removal | None = None,
        crop: Crop = "center",
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: MaskLike | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        negative_style: Style | ReferenceLike | None = None,
        guidance_interval: GuidanceInterval | None = None,
        seed: int | None = None,
        num_images_per_prompt: int = 1,
        **arguments: Any,
    ) -> StyledOutput:
        """Generate images.

        Args:
            prompt: One prompt or several.
            style: A reference or several (images, saved styles), a ready `Style`, one `Style` for each prompt, or
                `StyleConditioning`s that add up. None is the plain pipeline.
            content: Words for what the references show, to be removed.
            content_scale: How much is removed, 0 for nothing, or `"auto"`: just enough that the reference is no closer
                to the words than unrelated images. None is 0.5, or the scale of a ready style.
            removal: How it is removed; None is `"subtract"`, or the removal of a ready style.
            crop: How reference images are made square.
            blocks: A role (`"style"`, `"layout"`, `"all"`), a mode (`"precise-style"`), names, patterns, or a mapping
                from them to weights.
            scale: 0 is the plain pipeline, 1 the adapter as trained.
            mask: White where the style acts.
            start: Share of the steps after which the style starts to act.
            end: Share of the steps after which it no longer acts.
            curve: Factors on the scale, evenly spaced over the steps.
            negative_style: A style that guidance steers away from.
            guidance_interval: First and last share of the steps with guidance, such as (0.2, 0.8); None is all.
            seed: Image i is generated from `seed + i`, alone or in a batch; None draws a new seed.
            num_images_per_prompt: Images for each prompt.
            arguments: Arguments of the pipeline itself.

        Returns:
            Images and their recipes; with `return_dict=False` the pipeline's own tuple.

        Raises:
            BlockError: The UNet has no such block.
            ImageError: A reference image or the mask cannot be read.
            JobError: The pipeline has no such argument, or an argument is out of range.
            ModelError: An image is black or not finite.
            StyleError: The style cannot be used with these arguments.
        """
        check_arguments(self.pipe, arguments, self.__call__)
        arguments = {**self.defaults, **arguments}
        count = num_images(prompt, num_images_per_prompt, arguments)
        seeds, generators = make_generators(seed, arguments, count)
        guidance = nullcontext() if guidance_interval is None else limit_guidance(self.pipe, guidance_interval)
        settings: PipelineArguments = {
            "blocks": self._without_probe_file(blocks),
            "scale": scale,
            "mask": mask,
            "negative_style": negative_style,
        }
        settings |= {"start": start, "end": end, "curve": curve}
        styling, styles = nullcontext(), None
        if style is not None:
            styles = style if isinstance(style, Style) else self.builder.as_styles(style, crop)
            if content or content_scale is not None or removal is not None:
                styles = self.builder.without_content_each(styles, content, content_scale, removal)
            styling = self.using(styles, **settings)
        elif content is not None:
            raise StyleError(f"content={content!r} would be removed from a style, but style is None.")
        with styling, guidance:
            output = self.pipe(prompt=prompt, num_images_per_prompt=num_images_per_prompt, **arguments, **generators)
        check_output(output, self.pipe)
        if isinstance(output, tuple):
            return cast(StyledOutput, output)
        # Scale, scheduler and dtype are recorded at once, as later calls may change them.
        record = CallRecord(
            styled=self,
            prompt=prompt,
            styles=styles,
            settings=settings,
            guidance_interval=guidance_interval,
            seeds=seeds,
            num_images_per_prompt=num_images_per_prompt,
            arguments=arguments,
            guidance_scale=getattr(self.pipe, "guidance_scale", None),
            scheduler=type(self.pipe.scheduler).__name__,
            dtype=str(self.pipe.unet.dtype).removeprefix("torch."),
        )
        return StyledOutput(output.images, output, record)

    def _without_probe_file(self, blocks: BlockSpec) -> BlockSpec:
        """Replace a probe file by the blocks that it names: the modules below open no file."""
        return resolve_block_spec(blocks, self.architecture) if ".json" in str(blocks) else blocks

    def __repr__(self) -> str:
        """`InstantStyle(StableDiffusionXLPipeline, mini, cpu float32, style up_blocks.1.attentions.2, …)`."""
        unet = self.pipe.unet
        roles = (f"{role} {format_blocks(blocks)}" for role, blocks in self.architecture.roles.items())
        model = (self.recipe_fields or {}).get("model") or self.architecture.title
        place = f"{self.pipe.device} {str(unet.dtype).removeprefix('torch.')}"
        return f"InstantStyle({', '.join([type(self.pipe).__name__, model, place, *roles])})"

    def _repr_html_(self) -> str:
        """The blocks and their roles as a table, for notebooks."""
        roles = self.architecture.roles.items()
        played = ((block, [role for role, members in roles if block in members]) for block in self.architecture.blocks)
        rows = (f"<tr><td>{block}</td><td>{', '.join(names)}</td></tr>" for block, names in played)
        return f"<table><caption>{escape(repr(self))}</caption>{''.join(rows)}</table>"
