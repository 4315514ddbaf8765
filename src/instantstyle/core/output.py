"""Images of a call, which can be saved with the recipe that reproduces them."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ..errors import JobError
from ..imaging.animation_file import DEFAULT_FPS, save_animation
from ..imaging.image_file import save_image
from ..recipe import Recipe
from ..recipe_types import Dtype, RecipeFields
from ..utils.text import join_first, shorten
from ..utils.versions import library_versions
from .call_styles import CallStyles
from .inversion import Inversion
from .latent_colours import OpenedColours
from .lora_style import LoraStyle
from .pipeline_call import only_reads
from .pipeline_state import PipelineState, watch_callback
from .protocols import PipelineArguments, network_of
from .recipe_fields import call_fields, colour_fields, inversion_fields, lora_fields, redux_fields, set_fields
from .redux_style import ReduxStyle
from .shared_attention import SharedAttention
from .style import Style
from .styled_network import StyledNetwork

if TYPE_CHECKING:
    from .conditioning import StyleConditioning
    from .pipeline import InstantStyle

RECORDED_ARGUMENTS = (
    *("negative_prompt", "num_inference_steps", "guidance_scale", "true_cfg_scale", "height", "width", "num_frames"),
)
"""Arguments of a pipeline that a recipe has fields for."""

CALLBACK = "callback_on_step_end"

IGNORED_ARGUMENTS = (CALLBACK, f"{CALLBACK}_tensor_inputs", "output_type", "return_dict")
"""Arguments of a pipeline that do not change an image; a callback is watched while it runs."""


@dataclass(frozen=True, eq=False)
class CallRecord:
    """The arguments of a call, and what a recipe records of the pipeline at that time.

    It holds copies, so that later changes of the caller's lists and mappings, files and pipeline have no effect.
    """

    styled: "InstantStyle"
    recipe_fields: Mapping[str, object] | None
    prompts: tuple[str, ...]
    styles: "tuple[Style | StyleConditioning, ...]"
    settings: PipelineArguments
    """Fields of `StyleConditioning` beside the style."""
    guidance_interval: tuple[float, float] | None
    colours: OpenedColours | None
    """The colours that the latents got."""
    hold_layout: float
    """Share of the steps with unstyled twins."""
    shared: SharedAttention | None
    loras: tuple[LoraStyle, ...]
    """The LoRA files that acted in blocks."""
    redux: tuple[ReduxStyle, ...]
    """The references whose tokens followed those of the text."""
    inversion: Inversion | None
    """What the images began with."""
    seeds: tuple[int, ...]
    num_images_per_prompt: int
    arguments: PipelineArguments
    scheduler: str
    dtype: str
    changes: dict[str, None] = field(default_factory=dict[str, None])
    """What changed the images and is in no argument, in the order in which it was found."""

    @classmethod
    def of(
        cls,
        styled: "InstantStyle",
        prompt: str | Sequence[str] | None,
        styles: "Style | Sequence[Style] | Sequence[StyleConditioning] | None",
        settings: PipelineArguments,
        guidance_interval: Sequence[float] | None,
        colours: OpenedColours | None,
        hold_layout: float,
        given: CallStyles,
        inversion: Inversion | None,
        seeds: Sequence[int],
        num_images_per_prompt: int,
        arguments: PipelineArguments,
    ) -> "CallRecord":
        """Record a call before it runs."""
        start, end = guidance_interval if guidance_interval is not None else (0.0, 1.0)
        return cls(
            styled,
            dict(styled.recipe_fields) if styled.recipe_fields else None,
            (prompt,) if isinstance(prompt, str) else tuple(prompt or ()),
            (styles,) if isinstance(styles, Style) else tuple(styles or ()),
            settings,
            None if guidance_interval is None else (float(start), float(end)),
            colours,
            hold_layout,
            given.shared,
            tuple(given.loras),
            tuple(given.redux),
            inversion,
            tuple(seeds),
            num_images_per_prompt,
            {name: list(value) if isinstance(value, list) else value for name, value in arguments.items()},
            scheduler=type(styled.pipe.scheduler).__name__,
            dtype=styled.dtype_name,
        )

    @contextmanager
    def watch(self, arguments: PipelineArguments) -> Generator[PipelineArguments]:
        """Find what changes the images besides the arguments, inside the `with` block.

        Args:
            arguments: Arguments of the pipeline.

        Yields:
            The arguments to pass to it instead.
        """
        loaded, given = self.styled.loaded_state, arguments.get(CALLBACK)
        callback = None if only_reads(given) else given
        if loaded is None or not self.recipe_fields:
            yield arguments
            return
        if StyledNetwork.of(network_of(self.styled.pipe)).has_injections:
            self.changes["a style of a `using` block around the call"] = None
        if callback is not None and type(callback).__module__.startswith("diffusers."):
            self.changes[f"{CALLBACK} ({type(callback).__name__})"] = None
        elif callable(callback):
            watched = watch_callback(
                callback, lambda name: self.changes.update({f"{name} that {CALLBACK} changed": None})
            )
            arguments = {**arguments, CALLBACK: watched}
        self._add_changes(loaded)
        yield arguments
        if callback is not None:
            # It may have changed the pipeline.
            self._add_changes(loaded)

    def _add_changes(self, loaded: PipelineState) -> None:
        self.changes.update(dict.fromkeys(loaded.list_changes(PipelineState.of(self.styled.pipe))))

    def recipe(self, index: int, image: Image.Image, frames: int | None = None) -> Recipe:
        """Build the recipe of one image or animation.

        Args:
            index: Number of the image in the call, from 0.
            image: The image, for its size.
            frames: Number of frames of an animation, whose first one is `image`.

        Raises:
            JobError: The call has arguments that no recipe field records; the message lists them.
        """
        place, pipe = index // self.num_images_per_prompt, self.styled.pipe
        style = self.styles[place if len(self.styles) > 1 else 0] if self.styles else None
        negatives = negative = self.arguments.get("negative_prompt")
        negative = negative if negative is None or isinstance(negative, str) else negative[place]
        missing = [
            *([] if self.recipe_fields else [_describe_unnamed(self.styled)]),
            *([] if self.prompts else ["prompt_embeds"]),
            *([] if self.seeds else ["a generator (use seed=)"]),
            *([] if self.settings["curve"] is None else ["curve"]),
            *([] if negative != "" or not _distinguishes_empty(pipe) else ["an empty negative_prompt (leave it out)"]),
            *sorted({*self.arguments} - {*RECORDED_ARGUMENTS, *IGNORED_ARGUMENTS, "generator", "prompt_embeds"}),
            *self.changes,
        ]
        fields: RecipeFields = {**(self.recipe_fields or {})}
        adapter = self.styled.builder.adapter.checkpoint
        if adapter and adapter.file and fields.get("adapter"):
            fields["adapter"] = adapter.file
        if style is not None:
            conditionings = (style,) if isinstance(style, Style) else self.styles
            fields |= call_fields(conditionings, self.settings, self.styled, missing)
        if self.loras:
            fields |= lora_fields(self.loras, fields, missing)
        if self.redux:
            fields |= redux_fields(self.redux, fields, missing)
        fields["hold_layout"] = self.hold_layout
        if self.shared is not None:
            styles = [each for each in self.styles if isinstance(each, Style)]
            same = isinstance(negatives, str | None) or len({*negatives}) == 1
            same &= all(each is styles[0] for each in styles)
            fields |= set_fields(self.shared, self.prompts, self.seeds, same, missing)
        if self.inversion is not None:
            fields |= inversion_fields(self.inversion, self.prompts[place] if self.prompts else None, missing)
        if self.colours is not None:
            fields |= colour_fields(self.colours, fields, missing)
        if "second_scale" not in fields:
            fields |= dict.fromkeys(("second_adapter", "second_image_encoder"))
        elif self.recipe_fields and not fields.get("second_adapter"):
            missing.append("an adapter that was added after loading (use instantstyle.load with a list)")
        if missing:
            listed = join_first(dict.fromkeys(missing))
            raise JobError(f"A recipe does not record {listed}; save the image without one: .images[0].save(…).")
        chosen = cast("str | None", fields.pop("scheduler", None))
        defaults = {name: each.default for name, each in signature(pipe.__call__).parameters.items()}
        guidance = {**defaults, **self.arguments}.get("guidance_scale")
        true_cfg = self.arguments.get("true_cfg_scale")
        return Recipe(
            prompt=self.prompts[place],
            negative_prompt=negative or "",
            seed=self.seeds[index],
            num_inference_steps=int({**defaults, **self.arguments}["num_inference_steps"]),
            guidance_interval=self.guidance_interval,
            guidance_scale=None if guidance is None else float(guidance),
            # Without a negative prompt it had no effect; a recipe's acts with an empty one.
            true_cfg_scale=None if true_cfg is None or negative is None else float(cast(float, true_cfg)),
            scheduler=chosen or self.scheduler,
            dtype=cast(Dtype, self.dtype),
            height=image.height,
            width=image.width,
            frames=frames,
            versions=library_versions(),
            **fields,
        )


@dataclass(frozen=True, eq=False)
class StyledOutput:
    """Images of a call. Other fields of the pipeline's own output are attributes too."""

    images: Any
    """A list of PIL images, or an array or tensor, as `output_type` selects; of videos, a list of frames each."""
    pipeline_output: object
    """What the pipeline returned."""
    record: CallRecord = field(repr=False)

    def recipe(self, index: int = 0) -> Recipe:
        """Return the recipe of one image or animation.

        Args:
            index: Number of the image, from 0.

        Raises:
            JobError: A recipe cannot record this call: a reference or mask is not a file, the pipeline was not
                made by `instantstyle.load`, or an argument has no field in a recipe.
        """
        image = self.images[index]
        frames = cast("list[object]", image) if isinstance(image, list) else [cast(object, image)]
        if not frames or not all(isinstance(frame, Image.Image) for frame in frames):
            raise JobError("Only PIL images carry a recipe; leave output_type out.")
        count = len(frames) if isinstance(image, list) else None
        return self.record.recipe(index, cast(Image.Image, frames[0]), count)

    def save(self, path: str | Path, index: int = 0, *, force: bool = False, fps: float | None = None) -> Path:
        """Write one image as a file that carries its recipe: `instantstyle reproduce` generates it again.

        Args:
            path: A path that ends in .png, .jpg or .webp, for an animation in .gif, .webp, .png or .mp4. Its folder is
                made if necessary.
            index: Number of the image, from 0.
            force: Whether to replace an existing file.
            fps: Frames a second of an animation, 1 to 50; None is 8.

        Returns:
            The path.

        Raises:
            JobError: As `recipe`, or the file cannot be written there.
        """
        image, recipe = self.images[index], self.recipe(index)
        if isinstance(image, list):
            recipe = recipe.replace(fps=DEFAULT_FPS if fps is None else fps)
            return save_animation(cast("list[Image.Image]", image), path, cast(float, recipe.fps), recipe, force=force)
        if fps is not None:
            raise JobError(f"fps is {shorten(fps)}, and the output is an image; leave it out.")
        return save_image(image, path, recipe, force=force)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline_output, name)


def _describe_unnamed(styled: "InstantStyle") -> str:
    """Say what of a pipeline that cannot be loaded again by a recipe no field of that names."""
    if len(styled.further) > 1:
        return "a pipeline with more than two adapters"
    return "a pipeline without a name to load it by (use instantstyle.load)"


def _distinguishes_empty(pipe: Any) -> bool:
    """Whether an empty negative prompt gives other images than none, as SDXL's does."""
    return bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
