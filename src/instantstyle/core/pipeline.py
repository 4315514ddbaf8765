"""InstantStyle (arXiv 2404.02733) around a diffusers pipeline: the style of a reference without its content."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy, deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelError, StyleError
from ..imaging.loading import ImageLike
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import StateDictSource
from ..recipe_types import Combine, Crop, Removal
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec
from ..utils.text import shorten
from .adapters import (
    as_negative,
    assign_adapter,
    find_builder,
    find_builder_of,
    find_named,
    fit_to_network,
    open_further,
    style_layers,
)
from .attention.decoupled import Fuse
from .attention_maps import AttentionMaps
from .call_inputs import check_one_style_each, make_generators, num_images
from .call_rows import CallRows
from .call_styles import CallStyles, read_mask_of, resolve_blocks, resolve_conditionings
from .conditioning import MaskLike, StyleConditioning, check_without_style, read_file_once
from .content_inputs import Content
from .frame_weights import FrameWeights, copy_frame_weights
from .guidance_checks import warn_of_fuse, warn_of_guidance
from .guidance_interval import GuidanceInterval
from .image_arguments import convert_images
from .image_encoder import ImageEncoder
from .injection import check_fuses, inject_attention_processors, limit_guidance, merge_style_layers, record_attention
from .inversion import ITERATIONS, Inversion, invert
from .ip_adapter import IPAdapter
from .latent_colours import LatentColours, open_latent_colours
from .lora_style import LoraStyles, PreparedLoras
from .output import CallRecord, StyledOutput
from .output_checks import check_output, flagged_images
from .pipeline_call import unwrap_compiled
from .pipeline_checks import (
    check_arguments,
    check_methods,
    check_pipeline,
    check_steps,
    default_argument,
    list_timesteps,
    supported_arguments,
)
from .pipeline_state import PipelineState
from .prompt_checks import check_text_of_fuse, warn_of_call
from .protocols import ContentEncoder, Pipeline, PipelineArguments, network_of
from .redux_style import ReduxStyles, prepare_tokens
from .reference_encoder import ContentScale, ReferenceEncoder
from .reference_inputs import ReferenceLike
from .replayed_row import check_distinct, check_seedless, fit_arguments
from .representation import describe, tabulate_roles
from .row_layout import Row, validate_row_layout
from .shared_attention import Shared
from .step_checks import warn_of_steps
from .style import Style
from .style_builder import References, StyleBuilder, StyleLike
from .styled_network import StyledNetwork

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


class InstantStyle:
    """A diffusers pipeline that generates in the style of a reference.

    The pipeline itself is not changed: a style is injected into its UNet, or its transformer, for a call or for a
    `with` block, and removed again.
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
        recipe_fields: Mapping[str, object] | None = None,
        row_layout: Sequence[Row] | None = None,
        explain_prompt: Callable[[str], str | None] | None = None,
    ) -> None:
        """
        Args:
            pipe: A diffusers pipeline with a UNet, or with a transformer of FLUX.1, Chroma or SD3.5.
            adapter: Path of an IP-Adapter (.safetensors, .bin) or a state dict; None allows bound styles only.
            image_encoder: The adapter's image encoder, a model or its folder; None uses the pipeline's own.
            text_encoder: Model and tokenizer that share the image encoder's space; None uses the pipeline's
                `text_encoder_2` if it fits.
            architecture: Blocks and roles; None matches the network with the known architectures.
            defaults: Arguments of a call where the caller gives none.
            keep_encoder: Whether to keep the image encoder's weights between uses; embeddings are cached either way.
            recipe_fields: Fields of its images' recipes that load this model again; None for no recipes.
            row_layout: Parts of a batch, `("unconditional", "conditional")`, of a class that is not diffusers'.
            explain_prompt: Returns one line where the model knows no word of a prompt, else None.

        Raises:
            CheckpointError: Adapter or encoder cannot be read, or do not fit.
            ModelError: The pipeline cannot be styled, or there is an encoder without an adapter.
            StyleError: The text encoder does not share the image encoder's space.
        """
        self.row_layout = validate_row_layout(row_layout)
        check_pipeline(pipe, self.row_layout)
        if adapter is None and image_encoder is not None:
            raise ModelError("An image encoder needs an adapter, and there is none; pass both or neither.")
        self.pipe = cast(Pipeline, pipe)
        checkpoint = None if adapter is None else IPAdapterCheckpoint.open(adapter)
        self.adapter = IPAdapter(checkpoint, network_of(self.pipe), architecture)
        encoder = getattr(pipe, "image_encoder", None) if image_encoder is None else image_encoder
        self.builder = StyleBuilder.open(self.pipe, self.adapter, encoder, text_encoder, keep_encoder)
        self.further: tuple[StyleBuilder, ...] = ()
        self.defaults, self.recipe_fields, self.explain_prompt = dict(defaults or {}), recipe_fields, explain_prompt
        self.loaded_state = PipelineState.of(pipe) if recipe_fields else None

    def with_pipeline(self, pipe: "DiffusionPipeline | Pipeline") -> "InstantStyle":
        """Share adapter and encoders with another, as `StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe)`."""
        check_pipeline(pipe, self.row_layout)
        other = copy(self)
        other.pipe = cast(Pipeline, pipe)
        other.defaults = supported_arguments(other.pipe, self.defaults)
        other.recipe_fields = None
        if unwrap_compiled(network_of(other.pipe)) is not unwrap_compiled(network_of(self.pipe)):
            other.builder, *further = fit_to_network(self.builders, network_of(other.pipe))
            other.adapter, other.further = other.builder.adapter, tuple(further)
        return other

    def add_adapter(
        self,
        adapter: StateDictSource | IPAdapterCheckpoint,
        *,
        image_encoder: object = None,
        text_encoder: tuple[object, object] | None = None,
        name: str | None = None,
        keep_encoder: bool = True,
    ) -> str:
        """Add an adapter beside the first, so that styles of both can act in one call.

        Styles are made for it with `styled.style(…, adapter=name)`, and each acts by a `StyleConditioning` of its own.

        Args:
            adapter: Path of an IP-Adapter for the same network, or a state dict.
            image_encoder: Its image encoder, a model or its folder; None shares that of an earlier adapter.
            text_encoder: Model and tokenizer that share the image encoder's space, as in the constructor.
            name: Its name; None is that of the file, without suffix.
            keep_encoder: As in the constructor.

        Returns:
            The name.

        Raises:
            CheckpointError: Adapter or encoder cannot be read, or do not fit.
            ModelError: The name is taken or missing, or there is no first adapter.
            StyleError: The text encoder does not share the image encoder's space.
        """
        builder = open_further(self.pipe, self.builders, adapter, image_encoder, text_encoder, name, keep_encoder)
        self.further = (*self.further, builder)
        return builder.name

    @property
    def builders(self) -> tuple[StyleBuilder, ...]:
        """The adapters with their encoders, the first one first."""
        return self.builder, *self.further

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
        """The network's blocks and roles."""
        return self.adapter.architecture

    @property
    def dtype_name(self) -> str:
        """Name of the network's dtype, as `Recipe.dtype` has it: `float16`."""
        return str(network_of(self.pipe).dtype).removeprefix("torch.")

    def style(
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
        adapter: str | None = None,
    ) -> Style:
        """Make a reusable style.

        Args:
            reference: One reference or several, in any order. If one of them is a style, all are mixed, each with its
                own content removed.
            content: Words for what the references show, or pictures, styles or embeddings of it (`content_inputs`),
                to be removed.
            content_scale: How much is removed, 0 for nothing, or `"auto"`; None is the removal's default.
            removal: `"subtract"` (the paper's), `"project"`, `"mask"`, `"clean"` or `"cleanstyle"`; None is
                `"subtract"`.
            mask_quantile: With `"mask"`, the share of the embedding's elements that is kept, 0..1; None separates two
                clusters.
            crop: How images are made square: `"center"`, `"pad"` or `"squash"`.
            weights: Weight of each reference; None weights them equally.
            combine: `"average"` computes the weighted mean, `"concat"` puts the tokens side by side, `"subtract"`
                subtracts the mean of the others from the first.
            texture: One reference or several whose texture is used, of `reference` the colours only, see
                `Style.blend`.
            colour_scale: How much of the colours a blend has; None is 1.1.
            texture_scale: How much of the texture; None is 1.
            keep_grey: Whether to keep embeddings of the images made grey, which `Style.blend` needs.
            adapter: Name of the adapter that the style acts through, see `add_adapter`, and empty for the first, also
                where the reference is a ready style; None is the first, or that of a ready style.

        Raises:
            ImageError: An image cannot be read.
            StyleError: Arguments do not fit together, or the pipeline has no encoder for them.
        """
        builder = find_builder_of(self.builders, reference) if adapter is None else find_named(self.builders, adapter)
        style = builder.build(
            reference,
            content=content,
            content_scale=content_scale,
            removal=removal,
            mask_quantile=mask_quantile,
            crop=crop,
            weights=weights,
            combine=combine,
            texture=texture,
            colour_scale=colour_scale,
            texture_scale=texture_scale,
            keep_grey=keep_grey,
        )
        return style if adapter is None else assign_adapter(builder, style)

    def bind(self, style: References, blocks: BlockSpec = "style", *, num_inference_steps: int | None = None) -> Style:
        """Add the keys and values of these blocks to a style.

        The result generates with every network of this family, without adapter and image encoder.

        Args:
            style: The style, or references of one.
            blocks: The blocks.
            num_inference_steps: For SD3.5, whose keys and values change with the step: the steps of the calls in which
                the style will act. None is the model's default, or that of the pipeline; other adapters refuse it.

        Raises:
            BlockError: The network has no such block.
            StyleError: The style is one of another encoder, the schedule depends on more than the steps, or keys and
                values do not change with them.
        """
        ready = self.builder.as_style(style)
        builder = find_builder_of(self.builders, ready)
        ready.check_encoder(builder.require_reference_encoder().encoder)
        timesteps = None
        if (checkpoint := builder.adapter.checkpoint) is not None and checkpoint.is_timed:
            default = self.defaults.get("num_inference_steps")
            timesteps = list_timesteps(self.pipe, default if num_inference_steps is None else num_inference_steps)
        elif num_inference_steps is not None:
            raise StyleError(
                f"num_inference_steps (--steps) is {shorten(num_inference_steps)}, and keys and values of this "
                "adapter are the same at all steps; leave it out."
            )
        return ready.with_binding(builder.adapter.bind(ready, resolve_blocks(blocks, self.architecture), timesteps))

    def minus(self, style: Style | ReferenceLike, content: Content, content_scale: float | None = None) -> Style:
        """Remove this content beside any that is removed already; `content_scale` applies to all, None keeps it."""
        return find_builder_of(self.builders, style).minus(style, content, content_scale)

    @contextmanager
    def using(
        self,
        style: StyleLike | Shared | LoraStyles | ReduxStyles,
        *,
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: MaskLike | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        frames: FrameWeights | None = None,
        fuse: Fuse = "add",
        negative_style: Style | ReferenceLike | None = None,
        row_layout: Sequence[Row] | None = None,
        scheduler: object = None,
    ) -> Generator[Pipeline]:
        """Inject a style into the plain pipeline, which is yielded, for the `with` block; arguments as in a call.

        The pipeline has its own defaults, such as 50 steps; pass `**styled.defaults` for those of the model. `with`
        statements may end in any order; in a layer that several select, the latest style acts. It acts in every
        pipeline of diffusers that has this UNet, and in a loop of your own: there all rows of a batch are conditional
        unless `row_layout` names its parts, and the step is that of the timestep in `scheduler.timesteps`.

        Args:
            style: A style, several references, conditionings, `SharedAttention`, `LoraStyle`s or `ReduxStyle`s, as in
                a call.
            row_layout: Parts of a batch in a loop or pipeline of your own; None is the constructor's.
            scheduler: The scheduler of a loop of your own; None is `pipe.scheduler`, whose steps must not be skipped.

        Raises:
            BlockError: The network has no such block.
            ModelError: `row_layout` names other parts, or `scheduler` has no timesteps.
            StyleError: The style cannot be used here, or another thread styles the network.
        """
        given = CallStyles.of(self.pipe, self.architecture, style)
        shared = given.shared
        settings = {"scale": scale, "mask": mask, "start": start, "end": end, "curve": curve, "frames": frames}
        settings |= {"blocks": blocks, "fuse": fuse, "negative_style": negative_style}
        if given.rest is None:
            check_without_style(settings)
        styles = [] if given.rest is None else self.builder.as_styles(given.rest)
        if negative_style is not None:
            settings["negative_style"] = as_negative(self.builders, negative_style, given.rest)
        conditionings = [] if given.rest is None else resolve_conditionings(styles, settings, self.architecture)
        acting = PreparedLoras(given.loras, self.pipe, self.architecture)
        weights, tokens = prepare_tokens(given.redux, self.adapter)
        layers = merge_style_layers(
            [*acting.style_layers, *(style_layers(self.builders, each) for each in conditionings), weights]
        )
        check_fuses(layers)
        layout = self.row_layout if row_layout is None else validate_row_layout(row_layout)
        inject = partial(
            inject_attention_processors,
            network_of(self.pipe),
            row_layout=layout,
            scheduler=scheduler,
            pipe_scheduler=self.pipe.scheduler,
        )
        with (
            inject(layers, text_tokens=tokens),
            acting.injected(layout, scheduler),
            nullcontext() if shared is None else shared.injected(self.adapter, network_of(self.pipe), inject),
        ):
            yield self.pipe

    def invert(
        self,
        image: ImageLike,
        /,
        prompt: str = "",
        *,
        steps: int | None = None,
        iterations: int = ITERATIONS,
        guidance_scale: float = 1.0,
        width: int | None = None,
        height: int | None = None,
        crop: Crop = "center",
        **arguments: Any,
    ) -> Inversion:
        """Find the latents through which the pipeline draws a picture with DDIM (DDIM inversion, ReNoise).

        The result is the `inversion` of a call, or the `reference` of `SharedAttention`; both need a pipeline with
        DDIM, as `load(…, scheduler="ddim")` makes it. With the same prompt and guidance it draws the picture again.

        Args:
            image: The picture: an image, a file or bytes.
            prompt: What it shows.
            steps: Number of steps of DDIM; None for the model's.
            iterations: Evaluations of the network for each step, from 1, which is plain DDIM inversion.
            guidance_scale: Scale of classifier-free guidance; above 1 the picture is given back less well.
            width: Width in px, a multiple of 8; None keeps the proportions.
            height: Height in px, as `width`; without both, the picture gets the area of the model's own size.
            crop: How the picture gets other proportions, where both are given.
            arguments: Other arguments of the pipeline, such as the image of a ControlNet.

        Raises:
            ImageError: The picture cannot be read.
            JobError: A number is out of range, or the pipeline has no such argument.
            ModelError: The pipeline does not draw from latents, or has a noise schedule that DDIM cannot have.
            StyleError: A style is injected in a `using` block, or another thread styles the network.
        """
        check_methods(self.pipe, {"DDIM inversion": True})
        check_arguments(self.pipe, arguments, self.invert)
        count = steps or self.defaults.get("num_inference_steps", default_argument(self.pipe, "num_inference_steps"))
        return invert(
            self.pipe, image, prompt, steps=count if steps is None else steps, iterations=iterations,
            guidance_scale=guidance_scale, width=width, height=height, crop=crop,
            arguments=convert_images(self.pipe, arguments),
        )  # fmt: skip

    @contextmanager
    def record_attention(self, *, keep_calls: bool = False) -> Generator[AttentionMaps]:
        """Record where styles act in the images that are generated inside the `with` block.

        Args:
            keep_calls: Whether to keep all probabilities of every call, which need much memory, beside their means.

        Yields:
            The maps, which each call of the pipeline adds to. Images are the same as without a record.

        Raises:
            StyleError: The network is compiled.
        """
        maps = AttentionMaps(keep_calls=keep_calls)
        with record_attention(network_of(self.pipe), maps):
            yield maps

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        style: StyleLike | Shared | LoraStyles | ReduxStyles | None = None,
        content: Content | None = None,
        content_scale: ContentScale | None = None,
        removal: Removal | None = None,
        mask_quantile: float | None = None,
        crop: Crop = "center",
        blocks: BlockSpec = "style",
        scale: float = 1.0,
        mask: MaskLike | None = None,
        start: float = 0.0,
        end: float = 1.0,
        curve: Sequence[float] | None = None,
        frames: FrameWeights | None = None,
        fuse: Fuse = "add",
        hold_layout: float = 0.0,
        negative_style: Style | ReferenceLike | None = None,
        guidance_interval: GuidanceInterval | None = None,
        latent_colours: LatentColours | None = None,
        inversion: Inversion | None = None,
        seed: int | None = None,
        num_images_per_prompt: int = 1,
        **arguments: Any,
    ) -> StyledOutput:
        """Generate images.

        Args:
            prompt: One prompt or several.
            style: A reference or several (images, saved styles), a ready `Style`, one `Style` for each prompt, or
                `StyleConditioning`s that add up, `SharedAttention`, `LoraStyle`s, `ReduxStyle`s, or a list with these.
                None is the plain pipeline.
            content: Words for what the references show, or pictures of it, to be removed; as in `style`.
            content_scale: How much is removed, 0 for nothing, or `"auto"`: just enough that the reference is no closer
                to the words than unrelated images. None is the removal's default, or the scale of a ready style.
            removal: How it is removed; None is `"subtract"`, or the removal of a ready style.
            mask_quantile: As in `style`.
            crop: How reference images are made square.
            blocks: A role (`"style"`, `"layout"`, `"all"`), a mode (`"precise-style"`), names, patterns, or a mapping
                from them to weights.
            scale: 0 adds nothing, as `style=None`; 1 is the adapter as trained.
            mask: White where the style acts.
            start: Share of the steps after which the style starts to act.
            end: Share of the steps after which it no longer acts.
            curve: Factors on the scale, see `StyleConditioning`.
            frames: Factors on the scale over the frames of a video: a list, or a function of the share of the frames.
            fuse: How the style's attention is joined to the text's: `"add"`, or `"adain"`, see `StyleConditioning`.
            hold_layout: Share of the steps in which unstyled twins of the images hold the layout, see `twin_images`;
                each of these steps costs twice as much.
            negative_style: A style that guidance steers away from.
            guidance_interval: First and last share of the steps with guidance, such as (0.2, 0.8); None is all.
            latent_colours: A picture whose colours the latents get at a part of the steps. A recipe records that of a
                file which is the one reference of the style, or beside no style.
            inversion: A picture from whose inverted latents images begin instead of from noise, see `invert`; a
                seed then has no effect, so that each prompt has one image, and the scheduler is DDIM.
            seed: Image i is generated from `seed + i`, alone or in a batch; None draws a new seed.
            num_images_per_prompt: Images for each prompt.
            arguments: Arguments of the pipeline itself. Images may be what references are, see `image_arguments`.

        Returns:
            Images, or the frames of videos, and their recipes; with `return_dict=False` the pipeline's own tuple.

        Raises:
            BlockError: The network has no such block.
            ImageError: A reference, the mask or another image cannot be read.
            JobError: The pipeline has no such argument, or an argument is out of range.
            ModelError: An image is black or not finite, and the safety checker has not blacked it out.
            StyleError: The style cannot be used with these arguments.
        """
        given = CallStyles.of(self.pipe, self.architecture, style)
        methods = {"inversion": inversion, "latent_colours": latent_colours, "hold_layout": hold_layout or None}
        check_methods(self.pipe, {name: value is not None for name, value in methods.items()})
        check_arguments(self.pipe, arguments, self.__call__, is_styled=given.rest is not None)
        arguments = {**self.defaults, **fit_arguments(self.pipe, inversion, given.shared, arguments)}
        check_steps(self.pipe, arguments)
        arguments = convert_images(self.pipe, arguments)
        prompts, images = num_images(prompt, num_images_per_prompt, arguments)
        check_seedless(inversion, seed, images)
        seeds, generators = make_generators(seed, arguments, prompts * images)
        has_image = inversion is not None or arguments.get("image") is not None
        warn_of_call(self.pipe, prompt, arguments, self.explain_prompt, has_image)
        guidance = limit_guidance(self.pipe, guidance_interval, self.row_layout)
        colours = open_latent_colours(latent_colours)
        if given.rest is not None and negative_style is not None:
            negative_style = as_negative(self.builders, negative_style, given.rest)
        settings: PipelineArguments = {
            **{"blocks": resolve_blocks(blocks, self.architecture), "scale": scale, "mask": read_file_once(mask)},
            **{"start": start, "end": end, "curve": curve, "frames": copy_frame_weights(frames)},
            **{"fuse": fuse, "negative_style": negative_style},
        }
        styles = find_builder_of(self.builders, given.rest).for_call(
            given.rest, crop, content, content_scale, removal, mask_quantile, settings
        )
        if isinstance(styles, list):
            read = [each if isinstance(each, Style) else read_mask_of(each) for each in styles]
            styles = cast("list[Style] | list[StyleConditioning]", read)
        check_one_style_each(styles, prompts)
        check_distinct(inversion, prompt, styles, arguments)
        conditionings = [] if styles is None else resolve_conditionings(styles, settings, self.architecture)
        for conditioning in conditionings:
            check_text_of_fuse(conditioning.fuse, [prompt] if isinstance(prompt, str) else prompt or ())
        rows = CallRows.of(self.pipe, prompts, images, hold_layout, inversion, given, styles, arguments)
        acting = given.beside(conditionings)
        styling = self.using(acting) if acting else nullcontext()
        record = CallRecord.of(
            *(self, prompt, styles, settings, guidance_interval, colours, rows.twin_share, given),
            *(inversion, seeds, images, arguments),
        )
        with (
            StyledNetwork.of(network_of(self.pipe)).generating(),
            record.watch(arguments) as watched,
            styling,
            guidance,
            rows.injected(self.pipe, self.row_layout),
        ):
            output = self.pipe(**rows.build_arguments(self.pipe, prompt, generators, watched, colours))
        output = rows.select_returned(output)
        check_output(output[0], flagged_images(output), self.pipe)
        warn_of_steps(self.pipe, conditionings, given, guidance_interval, latent_colours, rows.twin_share)
        warn_of_guidance(self.pipe, conditionings, arguments, guidance_interval)
        warn_of_fuse(conditionings)
        return cast(StyledOutput, output) if isinstance(output, tuple) else StyledOutput(output[0], output, record)

    def adapter_of(self, style: Style) -> str:
        """Return the name of the adapter that a style acts through; empty for the first."""
        return find_builder(self.builders, style).name

    def __deepcopy__(self, memo: dict[int, Any]) -> "InstantStyle":
        """Copy the pipeline; adapter and encoders are shared, see `with_pipeline`."""
        return self.with_pipeline(deepcopy(self.pipe, memo))

    def __repr__(self) -> str:
        """`InstantStyle(StableDiffusionXLPipeline, mini, cpu float32, style up_blocks.0.attentions.1–2, …)`."""
        return describe(self.pipe, self.architecture, cast("str | None", (self.recipe_fields or {}).get("model")))

    def _repr_html_(self) -> str:
        """The blocks and their roles as a table, for notebooks."""
        return tabulate_roles(repr(self), self.architecture)
