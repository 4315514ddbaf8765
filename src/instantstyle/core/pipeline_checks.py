"""Checks before a call of a diffusers pipeline: its interface, its arguments and steps."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

from ..errors import JobError, ModelError, StyleError, suggest_nearest
from ..imaging.control_image import check_draws_step
from ..unet.blocks import TRANSFORMER_STAGES
from ..utils.numbers import is_finite_number, is_whole_number, read_numbers
from ..utils.text import find_text_fault, shorten
from .protocols import Pipeline, PipelineArguments, find_network, is_transformer, network_of
from .row_layout import RowLayout, find_known_class, unknown_pipeline_error


def check_pipeline(pipe: object, row_layout: RowLayout | None) -> None:
    """Check that the pipeline has a network with named attention processors, and that its batches are known.

    Args:
        pipe: The pipeline.
        row_layout: The parts of its batches, for a pipeline that is not known.

    Raises:
        ModelError: It has not, or they are not.
    """
    if not hasattr(find_network(pipe), "attn_processors"):
        raise ModelError(
            f"{type(pipe).__name__} has no UNet or transformer to style; use a diffusers pipeline for SD1.5, SDXL or "
            "FLUX.1."
        )
    if row_layout is None and find_known_class(type(pipe).__mro__) is None:
        raise unknown_pipeline_error(type(pipe).__name__)


def check_methods(pipe: Pipeline, methods: Mapping[str, bool]) -> None:
    """Check that the network of a pipeline has the layers that methods act in.

    Args:
        pipe: The pipeline.
        methods: Whether each method is used, by its name.

    Raises:
        StyleError: A method that is used acts in the layers of UNets only, and the network is a transformer.
    """
    used = [name for name, is_used in methods.items() if is_used]
    if used and is_transformer(network_of(pipe)):
        raise StyleError(
            f"{used[0]} acts in the layers of a UNet, and {type(pipe).__name__} has a diffusion transformer; leave it "
            "out."
        )


def check_redux(pipe: Pipeline, styles: Sequence[object]) -> None:
    """Check that Redux' tokens have a place.

    Raises:
        StyleError: There are some, and the network is no diffusion transformer with blocks of one stream.
    """
    if styles and not hasattr(network_of(pipe), TRANSFORMER_STAGES[1]):
        raise StyleError(f"A ReduxStyle acts in FLUX.1, and {type(pipe).__name__} has another network; leave it out.")


ALIASES = {
    "steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "n": "num_images_per_prompt",
}
"""Names of other tools, by which users look for an argument."""


INSTEAD = {"true_cfg_scale": " Its guidance is guidance_scale; leave true_cfg_scale out."}
"""What is said of an argument that only other pipelines have."""


def check_arguments(
    pipe: Pipeline, arguments: PipelineArguments, own_call: Callable[..., object], *, is_styled: bool = False
) -> None:
    """Check that the pipeline has these arguments, and that numbers are in range.

    Args:
        pipe: The pipeline to call.
        arguments: Keyword arguments.
        own_call: The call whose argument names are suggested beside the pipeline's.
        is_styled: Whether a style acts in the call.

    Raises:
        JobError: The pipeline has no argument of a name, or a number is out of range.
        StyleError: An option of the pipeline replaces the processors of a style.
    """
    known = list_parameters(pipe.__call__)
    for name, value in arguments.items():
        if "ip_adapter_image" in name and value is not None:
            raise JobError(f"{name} is for diffusers' own IP-Adapter; pass the reference as style=.")
        if name not in known and not takes_any_name(pipe.__call__):
            others = [*known, *list_parameters(own_call)]
            nearest = INSTEAD.get(name) or suggest_nearest(ALIASES.get(name, name), others)
            raise JobError(f"{type(pipe).__name__} has no argument {name!r}.{nearest}")
    if is_styled:
        _check_processor_options(pipe, arguments)
    if uses_free_noise(pipe) and isinstance(arguments.get("generator"), list | tuple):
        raise one_generator_error(pipe)
    check_texts(arguments)
    _check_numbers(pipe, arguments)
    _check_frames(pipe, arguments)
    steps = arguments.get("num_inference_steps")
    if steps is not None and not is_whole_number(steps, at_least=1):
        raise JobError(f"num_inference_steps is {shorten(steps)}; it must be a whole number from 1.")
    # diffusers' pipelines with a UNet check the same and raise ValueError, the others generate a smaller image.
    step = 2 * pipe.vae_scale_factor if is_transformer(find_network(pipe)) else 8
    for name in ("height", "width"):
        size = arguments.get(name)
        if size is not None and (not is_whole_number(size, at_least=step) or size % step):
            raise JobError(f"{name} is {shorten(size)}; it must be a multiple of {step}, in pixels.")


PROCESSOR_OPTIONS = ("use_cross_attn_mask", "use_intersect_mask")
"""Options of LEdits++ with which it sets attention processors of its own, and leaves them in the UNet."""


def _check_processor_options(pipe: Pipeline, arguments: PipelineArguments) -> None:
    """Check before the call that the pipeline does not replace the processors of a style."""
    parameters = inspect.signature(pipe.__call__).parameters
    present = [name for name in PROCESSOR_OPTIONS if name in parameters]
    if used := [name for name in present if arguments.get(name, parameters[name].default)]:
        raise StyleError(
            f"{type(pipe).__name__} sets attention processors of its own in place of a style's with {used[0]}; pass "
            f"{' and '.join(f'{name}=False' for name in present)}."
        )


def _check_frames(pipe: Pipeline, arguments: PipelineArguments) -> None:
    """Check that a video has no more frames than the motion modules have positions."""
    parameters = inspect.signature(pipe.__call__).parameters
    limit = getattr(network_of(pipe).config, "motion_max_seq_length", None)
    if limit is None or not {"num_frames", "video"} & {*parameters}:
        return
    video = arguments.get("video")
    if "num_frames" in parameters:
        count = arguments.get("num_frames", parameters["num_frames"].default)
        if not is_whole_number(count, at_least=1):
            raise JobError(f"num_frames is {shorten(count)}; it must be a whole number from 1.")
    else:
        count = len(cast("Sequence[object]", video)) if isinstance(video, list | tuple) else 1
    if count > limit and not uses_free_noise(pipe):
        raise JobError(
            f"The video has {count} frames, and the motion adapter has positions for {limit}: generate at most "
            f"{limit}, or call pipe.enable_free_noise() for longer videos."
        )


def uses_free_noise(pipe: object) -> bool:
    """Whether a pipeline generates long videos by FreeNoise, which diffusers turns on for a pipeline."""
    return bool(getattr(pipe, "free_noise_enabled", False))


def one_generator_error(pipe: object) -> JobError:
    """Build the error for several videos or generators in a call with FreeNoise."""
    return JobError(
        f"{type(pipe).__name__} with FreeNoise takes one generator and one prompt: generate one video a call, with "
        "seed= or a generator that is not in a list."
    )


def check_texts(arguments: PipelineArguments) -> None:
    """Check the texts among the arguments, such as `negative_prompt`: tokenizers refuse half surrogates."""
    for name, value in arguments.items():
        texts = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
        for text in texts:
            if isinstance(text, str) and (fault := find_text_fault(text)):
                raise JobError(f"{name} is {shorten(value)}, which {fault}.")


def _check_numbers(pipe: Pipeline, arguments: PipelineArguments) -> None:
    """Check the arguments whose default is a float, such as `guidance_scale`: numbers; some may be lists of these."""
    parameters = inspect.signature(pipe.__call__).parameters
    for name, value in arguments.items():
        if name != "guidance_scale" and not isinstance(getattr(parameters.get(name), "default", None), float):
            continue
        may_be_list = name != "guidance_scale" and isinstance(value, list | tuple)
        if not is_finite_number(value) and not (may_be_list and read_numbers(value)):
            raise JobError(f"{name} is {shorten(value)}; it must be a finite number.")


_OWN_SCHEDULES = ("timesteps", "sigmas", "denoising_start")
"""Arguments with which the number of steps is not that of `num_inference_steps`."""


def find_least_steps(pipe: object) -> int:
    """Return the smallest number of steps of a pipeline's scheduler: 4 of PNDM that begins with Runge-Kutta steps.

    For fewer, diffusers raises an error of NumPy (0.42).
    """
    scheduler: Any = getattr(pipe, "scheduler", None)
    return 4 if type(scheduler).__name__ == "PNDMScheduler" and not scheduler.config.skip_prk_steps else 1


def check_steps(pipe: Pipeline, arguments: PipelineArguments) -> None:
    """Check that the scheduler has enough steps, and that an image to start from gets one, see `check_draws_step`.

    With none, diffusers' image-to-image pipelines return no image, and its inpainting pipelines raise `ValueError`
    (0.42).

    Args:
        pipe: The pipeline to call.
        arguments: Keyword arguments, with the model's own defaults.

    Raises:
        JobError: There are too few steps, or no step would be drawn.
    """
    if any(arguments.get(name) is not None for name in _OWN_SCHEDULES):
        return
    strength, steps = (
        arguments.get(name, default_argument(pipe, name)) for name in ("strength", "num_inference_steps")
    )
    if not is_whole_number(steps, at_least=1):
        return
    if steps < (least := find_least_steps(pipe)):
        raise JobError(
            f"num_inference_steps is {steps}, and PNDM, which begins with Runge-Kutta steps here, needs {least}; take "
            'more, or scheduler "pndm", which begins without them.'
        )
    if is_transformer(find_network(pipe)) or not hasattr(pipe, "get_timesteps"):
        return
    if not arguments.get("enforce_inference_steps") and is_finite_number(strength) and 0 <= strength <= 1:
        check_draws_step(strength, steps)


def list_timesteps(pipe: Pipeline, steps: object = None) -> list[float]:
    """List the timesteps of a schedule, from a copy of the pipeline's scheduler.

    Args:
        pipe: The pipeline.
        steps: Number of steps; None is the pipeline's default.

    Raises:
        StyleError: It is no number of steps, or the schedule depends on the image's size too.
    """
    number: Any = default_argument(pipe, "num_inference_steps") if steps is None else steps
    if not is_whole_number(number, 1):
        raise StyleError(f"num_inference_steps is {shorten(number)}; it must be a whole number from 1.")
    scheduler: Any = deepcopy(pipe.scheduler)
    if scheduler.config.get("use_dynamic_shifting"):
        raise StyleError(
            f"The schedule of {type(scheduler).__name__} depends on the image's size here, so that a style cannot be "
            "bound for its timesteps; save the style with its embeddings."
        )
    scheduler.set_timesteps(int(number))
    return scheduler.timesteps.tolist()


def default_argument(pipe: Pipeline, name: str) -> Any:
    """Return the default of an argument of the pipeline's call; None where it has no such argument."""
    return getattr(inspect.signature(pipe.__call__).parameters.get(name), "default", None)


def supported_arguments(pipe: Pipeline, arguments: PipelineArguments) -> dict[str, Any]:
    """Keep the arguments that the pipeline has: image-to-image takes its size from the image, for example."""
    known = list_parameters(pipe.__call__)
    return {name: value for name, value in arguments.items() if name in known}


def list_parameters(call: Callable[..., object]) -> list[str]:
    """List the names of the arguments of a call."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in inspect.signature(call).parameters.items() if parameter.kind in named]


def takes_any_name(call: Callable[..., object]) -> bool:
    """Whether a call has `**kwargs` that it uses: those of diffusers' pipelines hold deprecated names only."""
    kinds = (parameter.kind for parameter in inspect.signature(call).parameters.values())
    own = not (getattr(inspect.unwrap(call), "__module__", None) or "").startswith("diffusers.")
    return own and inspect.Parameter.VAR_KEYWORD in kinds
