"""`ModelDefaults`: what the model of a service does where a request leaves a field out, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from .schemas import ImageRequest

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..models.registry import SchedulerConfig


@dataclass(frozen=True)
class ModelDefaults:
    """What acts for the fields that a request leaves out.

    Attributes:
        steps: Number of steps.
        width: Width of an image in px.
        height: Height of an image in px.
        calls_per_step: Calls of the network in a step of the scheduler: 2 in methods of second order.
        first_calls: Calls of the network beside those, in the first steps of several.
        second_call: The field that doubles the calls where it is above 1, with its default: true guidance of a
            diffusion transformer. Empty for a UNet, whose guidance is one call with both halves.
    """

    steps: int
    width: int
    height: int
    calls_per_step: int = 1
    first_calls: int = 0
    second_call: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, styled: "InstantStyle", scheduler: str | None) -> Self:
        """Return those of a loaded model.

        Args:
            styled: The model.
            scheduler: Name of the service's scheduler, or a class of diffusers; None for the model's own.

        Raises:
            ModelError: The model cannot use this scheduler.
        """
        from ..core.guidance_checks import find_second_call
        from ..generation.call_arguments import default_size, default_steps
        from ..models.schedulers import build_scheduler, describe_scheduler

        pipe = styled.pipe
        used = describe_scheduler(pipe.scheduler if scheduler is None else build_scheduler(pipe, scheduler))
        width, height = default_size(styled)
        second: dict[str, float] = {}
        if (found := find_second_call(pipe)) is not None:
            name, default = found
            second[name] = styled.defaults.get(name, default)
        return cls(default_steps(styled), width, height, used.calls_per_step, used.first_calls, second)

    def count_calls(self, request: ImageRequest | None = None) -> int:
        """Count the calls of the network for an image.

        Args:
            request: The request; None for one that leaves all fields out. Those of an inversion are added, and those
                of a ControlNet, which runs before each call of the network.
        """
        networks = 1 if getattr(request, "control", "none") == "none" else 2
        return networks * self._count_own_calls(request)

    def _count_own_calls(self, request: ImageRequest | None) -> int:
        steps = getattr(request, "num_inference_steps", None) or self.steps
        if inversion := getattr(request, "inversion", None):
            # The steps of an inversion come before those of the image; both are drawn by DDIM, with one call a step.
            return steps * (1 + inversion)
        calls = self._scheduler_of(request).count_calls(steps)
        for name, default in self.second_call.items():
            scale: float | None = getattr(request, name, None)
            calls *= 2 if (default if scale is None else scale) > 1 else 1
        return calls

    def _scheduler_of(self, request: ImageRequest | None) -> "SchedulerConfig":
        from ..models.registry import SchedulerConfig
        from ..models.schedulers import get_scheduler_config

        if request is not None and request.scheduler is not None:
            return get_scheduler_config(request.scheduler)
        return SchedulerConfig("", calls_per_step=self.calls_per_step, first_calls=self.first_calls)
