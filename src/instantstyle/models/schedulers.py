"""Schedulers by name, and the scheduler of a pipeline replaced for the time of a call."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, cast

from ..core.pipeline_checks import default_argument
from ..errors import ModelError, suggest_nearest
from ..utils.missing_package import missing_package_error
from ..utils.scheduler_config import convert_scheduler
from ..utils.text import one_line, shorten
from ..utils.text_file import parse_json
from .network import find_config, import_diffusers_class
from .pipeline_files import PIPELINE_INDEX, read_index
from .registry import SchedulerConfig
from .resolve import find_card

_KARRAS = {"use_karras_sigmas": True}

_UNCLIPPED = {"clip_sample": False}
"""Pictures that are predicted as latents have values beyond 1, to which both schedulers limit pixels by default."""

SCHEDULERS: Mapping[str, SchedulerConfig] = {
    "ddim": SchedulerConfig("DDIMScheduler", _UNCLIPPED),
    "ddpm": SchedulerConfig("DDPMScheduler", _UNCLIPPED),
    "deis": SchedulerConfig("DEISMultistepScheduler"),
    "dpm2": SchedulerConfig("KDPM2DiscreteScheduler", calls_per_step=2),
    "dpm2-ancestral": SchedulerConfig("KDPM2AncestralDiscreteScheduler", calls_per_step=2),
    "dpm2-karras": SchedulerConfig("KDPM2DiscreteScheduler", _KARRAS, calls_per_step=2),
    "dpm++2m": SchedulerConfig("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++2m-karras": SchedulerConfig("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", **_KARRAS}),
    "dpm++2m-sde": SchedulerConfig("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++2m-sde-karras": SchedulerConfig(
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **_KARRAS}
    ),
    "dpm++2s": SchedulerConfig("DPMSolverSinglestepScheduler"),
    "dpm++2s-karras": SchedulerConfig("DPMSolverSinglestepScheduler", _KARRAS),
    "euler": SchedulerConfig("EulerDiscreteScheduler"),
    "euler-ancestral": SchedulerConfig("EulerAncestralDiscreteScheduler"),
    "euler-karras": SchedulerConfig("EulerDiscreteScheduler", _KARRAS),
    "euler-trailing": SchedulerConfig("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "heun": SchedulerConfig("HeunDiscreteScheduler", calls_per_step=2),
    "lcm": SchedulerConfig("LCMScheduler"),
    "lms": SchedulerConfig("LMSDiscreteScheduler"),
    "lms-karras": SchedulerConfig("LMSDiscreteScheduler", _KARRAS),
    # As SD1.5 has it: the Runge-Kutta steps before the others need 4 steps or more.
    "pndm": SchedulerConfig("PNDMScheduler", {"skip_prk_steps": True}, first_calls=1),
    "tcd": SchedulerConfig("TCDScheduler"),
    "unipc": SchedulerConfig("UniPCMultistepScheduler"),
}
"""Schedulers of diffusers by the names of other programs, as its page "Schedulers" pairs them
(huggingface.co/docs/diffusers/api/schedulers/overview); `euler-trailing` is the one of few-step models."""

_PACKAGES: Mapping[str, str] = {
    "LMSDiscreteScheduler": "scipy",
    "DPMSolverSDEScheduler": "torchsde",
    "CosineDPMSolverMultistepScheduler": "torchsde",
}
"""Packages without which diffusers has no such class."""

_SUFFIX = "Scheduler"

_SCHEDULER_CONFIG = "scheduler/scheduler_config.json"

FLOW_MATCHING = "FlowMatch"
"""Prefix of the schedulers of models that were trained with flow matching."""


def validate_scheduler(name: str) -> None:
    """Check the name of a scheduler and the package that it needs, as far as that is possible without diffusers.

    Args:
        name: A name of `SCHEDULERS`, or a class of diffusers, which ends in "Scheduler".

    Raises:
        ModelError: There is no scheduler of this name.
        MissingExtra: It needs a package that is not installed.
    """
    if name not in SCHEDULERS and not name.endswith(_SUFFIX):
        raise _unknown_error(name)
    package = _PACKAGES.get(SCHEDULERS[name].name if name in SCHEDULERS else name)
    if package is not None and find_spec(package) is None:
        raise missing_package_error(f"scheduler {shorten(name)} needs the package {package}", package)


def get_scheduler_config(name: str) -> SchedulerConfig:
    """Return the row of `SCHEDULERS` of a name.

    Raises:
        ModelError: There is no such row.
    """
    if name not in SCHEDULERS:
        raise _unknown_error(name, takes_classes=False)
    return SCHEDULERS[name]


def find_timesteps(model: str, steps: int | None, scheduler: str | None = None) -> list[float] | None:
    """List the timesteps of a schedule of a model that was trained with flow matching, without loading it.

    Args:
        model: As in `load`.
        steps: Number of steps; None for the model's own.
        scheduler: A name as in `validate_scheduler`; None for the model's own.

    Returns:
        The timesteps in 0..1000; None where the config of its scheduler or the number of steps is not known here, the
        schedule depends on the image's size, or another scheduler is named.

    Raises:
        ModelError: There is no such model.
    """
    card = find_card(model)
    config, index = (find_config(card, [name]) for name in (_SCHEDULER_CONFIG, PIPELINE_INDEX))
    if config is None:
        return None
    try:
        settings = cast("dict[str, Any]", parse_json(config.read_text(encoding="utf-8")))
        name: str = settings["_class_name"]
        if scheduler not in (None, name) or not name.startswith(FLOW_MATCHING) or settings.get("use_dynamic_shifting"):
            return None
        number: object = steps or card.defaults.get("num_inference_steps")
        if number is None and index is not None:
            pipeline = import_diffusers_class(read_index(index.parent)["_class_name"])
            number = default_argument(pipeline, "num_inference_steps")
        if not isinstance(number, int):
            return None
        own = import_diffusers_class(name).from_config(settings)
        own.set_timesteps(number)
        return own.timesteps.tolist()
    # What damaged JSON and settings that do not fit raise: loading reports them.
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return None


def describe_scheduler(scheduler: Any) -> SchedulerConfig:
    """Return the class of a scheduler, with the calls of the network in its steps."""
    name, order = type(scheduler).__name__, getattr(scheduler, "order", 1)
    # diffusers counts the calls of a step as the order of a scheduler, and those of PNDM's first steps nowhere.
    first = {True: 1, False: 9}[scheduler.config.skip_prk_steps] if name == "PNDMScheduler" else 0
    return SchedulerConfig(name, calls_per_step=order, first_calls=first)


def build_scheduler(pipe: Any, name: str) -> Any:
    """Build the scheduler of a name with the settings of the pipeline's own.

    Args:
        pipe: A diffusers pipeline.
        name: As in `validate_scheduler`.

    Returns:
        The pipeline's own scheduler if `name` is its class; else a new one.

    Raises:
        ModelError: There is no scheduler of this name, or it cannot have the settings of the pipeline's own, or the
            model was trained with flow matching.
        MissingExtra: It needs a package that is not installed.
    """
    validate_scheduler(name)
    if name == type(pipe.scheduler).__name__:
        return pipe.scheduler
    if type(pipe.scheduler).__name__.startswith(FLOW_MATCHING):
        raise ModelError(
            f"scheduler {shorten(name)} is for noise prediction, and this model was trained with flow matching. "
            f"Leave scheduler out for its own {type(pipe.scheduler).__name__}."
        )
    rows = (row for key, row in SCHEDULERS.items() if name in (key, row.name))
    config = next(rows, SchedulerConfig(name))
    known = {each.__name__ for each in pipe.scheduler.compatibles} | {each.name for each in SCHEDULERS.values()}
    if config.name not in known:
        raise _unknown_error(name, sorted(known))
    scheduler_class = import_diffusers_class(config.name)
    try:
        return convert_scheduler(pipe.scheduler, scheduler_class, **config.changes)
    # A missing library of a scheduler, and settings of the pipeline's own that another cannot have.
    except (ImportError, ValueError, NotImplementedError) as error:
        raise ModelError(f"scheduler {shorten(name)} cannot be used with this model: {one_line(error)}") from error


@contextmanager
def use_scheduler(pipe: Any, name: str | None) -> Generator[None]:
    """Use another scheduler inside the `with` block.

    Args:
        pipe: A diffusers pipeline.
        name: As in `build_scheduler`; None for the pipeline's own.

    Raises:
        ModelError: As in `build_scheduler`.
    """
    own = pipe.scheduler
    pipe.scheduler = own if name is None else build_scheduler(pipe, name)
    try:
        yield
    finally:
        pipe.scheduler = own


def _unknown_error(name: str, classes: Sequence[str] = (), takes_classes: bool = True) -> ModelError:
    names = [*SCHEDULERS, *(["classes of diffusers"] if takes_classes else [])]
    return ModelError(
        f"There is no scheduler {shorten(name)} for this model; there are {', '.join(names[:-1])} and {names[-1]}."
        f"{suggest_nearest(name, [*SCHEDULERS, *classes])}"
    )
