"""`ModelDefaults`: what the model of a service does where a request leaves a field out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle


@dataclass(frozen=True)
class ModelDefaults:
    """What acts for the fields that a request leaves out.

    Attributes:
        steps: Number of steps.
        width: Width of an image in px.
        height: Height of an image in px.
        calls_per_step: Calls of the network in a step of the scheduler: 2 in methods of second order.
    """

    steps: int
    width: int
    height: int
    calls_per_step: int = 1

    @classmethod
    def of(cls, styled: "InstantStyle", scheduler: str | None) -> Self:
        """Return those of a loaded model.

        Args:
            styled: The model.
            scheduler: Name of the service's scheduler, or a class of diffusers; None for the model's own.

        Raises:
            ModelError: The model cannot use this scheduler.
        """
        from ..generation.call_arguments import default_size, default_steps
        from ..models.schedulers import build_scheduler

        pipe = styled.pipe
        used = pipe.scheduler if scheduler is None else build_scheduler(pipe, scheduler)
        width, height = default_size(styled)
        # diffusers counts the calls of a step as the scheduler's order.
        return cls(default_steps(styled), width, height, getattr(used, "order", 1))
