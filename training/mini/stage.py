"""The training loop of every stage: resumable, limited by minutes, counting images."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from training.mini import distributed
from training.mini.device import describe_machine, seeded_generator
from training.mini.settings import SEED, Budget

SAVE_EVERY, REPORT_EVERY = 120, 30  # seconds

Scalar = Float[Tensor, ""]
Leg = dict[str, Any]
"""The part of a stage's training that one machine did: its name, the images, the minutes, the peak learning rate."""
Trained = TypeVar("Trained", bound=nn.Module)


class Stage(ABC, Generic[Trained]):
    """A module to train and its loss; `Run` does the rest.

    A stage is constructed from the folder of the earlier stages' states and its own name, which also names
    its state file.

    Attributes:
        name: Name of the stage.
        module: The module that is trained.
    """

    name: str
    module: Trained

    @abstractmethod
    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Compute the loss on new images.

        Args:
            batch: Number of images.
            generator: Source of all random numbers.
            progress: Share of the budget that is spent, 0..1.

        Returns:
            The loss, and detached values to report by name.
        """

    def parameters(self) -> list[nn.Parameter]:
        """Return the module's parameters that are trained."""
        return [weight for weight in self.module.parameters() if weight.requires_grad]

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Return the trained parameters in groups; the norm of each group's gradient is limited."""
        return [self.parameters()]

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make the optimisers, which share the parameters; `lr` is the peak of the learning rate.

        An optimiser that is made with another rate keeps its ratio to `lr` through the schedule.
        """
        return [make_adamw(self.parameters(), lr)]


def make_adamw(
    weights: list[nn.Parameter], lr: float, weight_decay: float = 0.01, betas: tuple[float, float] = (0.9, 0.99)
) -> torch.optim.AdamW:
    """Make the optimiser of most stages."""
    return torch.optim.AdamW(weights, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


class Run(Generic[Trained]):
    """The training of one stage: weights, their running mean, optimisers and counts, saved to `<name>.pt`."""

    def __init__(self, stage: Stage[Trained], folder: Path, budget: Budget) -> None:
        self.stage, self.budget, self.file = stage, budget, folder / f"{stage.name}.pt"
        self.averaged = deepcopy(stage.module).eval().requires_grad_(False)
        self.optimisers = stage.make_optimisers(budget.lr)
        self.rates = [optimiser.param_groups[0]["lr"] / budget.lr for optimiser in self.optimisers]
        self.images, self.steps, self.seconds = 0, 0, 0.0
        self.earlier: list[Leg] = []
        if self.file.exists():
            self.load()

    @property
    def progress(self) -> float:
        """Share of the time budget that is spent, 0..1."""
        return min(1.0, self.seconds / (60 * self.budget.minutes))

    def load(self) -> None:
        """Restore the saved state."""
        state = load_state(self.file)
        self.stage.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.images, self.seconds, self.earlier = state["images"], state["seconds"], state["earlier"]
        if "optimisers" in state:  # missing from a state that `training.mini.restore` wrote
            for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
            self.steps = state["steps"]

    def save(self) -> None:
        """Save the state; an interrupted save leaves the previous state."""
        state = dict(
            module=self.stage.module.state_dict(),
            averaged=self.averaged.state_dict(),
            optimisers=[optimiser.state_dict() for optimiser in self.optimisers],
            images=self.images,
            steps=self.steps,
            seconds=self.seconds,
            lr=self.budget.lr,
            machine=describe_machine(),
            earlier=self.earlier,
        )
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def learning_rate(self) -> float:
        """Return the rate: 200 steps of warm-up, constant, then decay over the last 35 % of the budget."""
        warm_up = min(1.0, (self.steps + 1) / 200)
        return self.budget.lr * warm_up * min(1.0, (1 - self.progress) / 0.35 + 0.01)

    def step(self) -> dict[str, Scalar]:
        """Train on one batch.

        The generator's seed counts images, so that a resumed run does not repeat any.

        Returns:
            The loss and the stage's other values, detached.
        """
        started = time.perf_counter()
        generator = seeded_generator(SEED + self.images + distributed.rank() * self.budget.batch)
        self.stage.module.train()
        loss, parts = self.stage.loss(self.budget.batch, generator, self.progress)
        self._update_weights(loss)
        self.steps += 1
        self.images += self.budget.batch * distributed.world_size()
        self._update_average()
        # Equal in all processes, because the learning rate depends on it.
        self.seconds += distributed.average_number(time.perf_counter() - started)
        return {"loss": loss.detach(), **parts}

    def _update_weights(self, loss: Scalar) -> None:
        self.stage.module.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_in_place([weight.grad for weight in self.stage.parameters() if weight.grad is not None])
        for weights in self.stage.parameter_groups():
            nn.utils.clip_grad_norm_(weights, 1.0)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.learning_rate()
            optimiser.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.budget.ema, (1 + self.steps) / (10 + self.steps))
        means: list[Tensor] = [*self.averaged.parameters()]
        weights: list[Tensor] = [*self.stage.module.parameters()]
        torch._foreach_lerp_(means, weights, 1 - decay)
        for mean, buffer in zip(self.averaged.buffers(), self.stage.module.buffers(), strict=True):
            mean.copy_(buffer)


class Report:
    """Means over several steps, printed as one line of JSON."""

    def __init__(self) -> None:
        self.sums: dict[str, Scalar] = {}
        self.count = 0

    def add(self, parts: Mapping[str, Scalar]) -> None:
        """Add the values of one step."""
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach()
        self.count += 1

    def print(self, run: Run) -> None:
        """Print the stage, its counts and the means."""
        means = {name: round(float(value) / self.count, 4) for name, value in self.sums.items()}
        counts = dict(stage=run.stage.name, images=run.images, minutes=round(run.seconds / 60, 1))
        print(json.dumps({**counts, **means}), flush=True)


def train(stage: Stage[Trained], folder: Path, budget: Budget, steps: int | None = None) -> Run[Trained]:
    """Train a stage, continuing from its saved state if there is one.

    Of several processes that train together, the first one reports and saves.

    Args:
        stage: The stage to train.
        folder: Folder of the states.
        budget: Training settings; training ends when its minutes are spent.
        steps: Total number of steps after which training ends earlier.

    Returns:
        The finished run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run, report, is_first = Run(stage, folder, budget), Report(), distributed.rank() == 0
    reported = saved = time.monotonic()
    while run.progress < 1 and (steps is None or run.steps < steps):
        report.add(run.step())
        now = time.monotonic()
        if is_first and now - reported > REPORT_EVERY:
            report.print(run)
            report, reported = Report(), now
        if is_first and now - saved > SAVE_EVERY:
            run.save()
            saved = now
    if is_first:
        run.save()
    return run


def load_averaged_module(stage: Stage[Trained], folder: Path) -> Trained:
    """Load the averaged weights of a trained stage into its module, frozen and in evaluation mode.

    Raises:
        FileNotFoundError: The stage has not been trained in this folder.
    """
    stage.module.load_state_dict(load_averaged_weights(stage.name, folder))
    return stage.module.eval().requires_grad_(False)


def load_averaged_weights(name: str, folder: Path) -> dict[str, Tensor]:
    """Load the averaged weights of stage `name`."""
    return load_state(folder / f"{name}.pt")["averaged"]


def load_averaged_part(name: str, part: str, folder: Path) -> dict[str, Tensor]:
    """Load the averaged weights of submodule `part` of stage `name`, by their names within it."""
    weights, prefix = load_averaged_weights(name, folder), f"{part}."
    return {key.removeprefix(prefix): weights[key] for key in weights if key.startswith(prefix)}


def list_legs(state: dict[str, Any]) -> list[Leg]:
    """List the legs of training that led to a state: the earlier ones, then the state's own run."""
    before = sum(leg["images"] for leg in state["earlier"])
    if state["images"] == before:
        return state["earlier"]
    own = dict(
        machine=state["machine"],
        images=state["images"] - before,
        minutes=round(state["seconds"] / 60, 1),
        lr=state["lr"],
    )
    return [*state["earlier"], own]


def load_state(file: Path) -> dict[str, Any]:
    """Load a file that `Run.save` wrote, onto the default device."""
    return torch.load(file, map_location=torch.get_default_device(), weights_only=True)


def masked_mean(mask: Bool[Tensor, " row"], values: Float[Tensor, " row"]) -> Scalar:
    """Return the mean of the values where the mask is true, 0 if it never is.

    Multiplies instead of indexing: indexing by a mask would wait for the GPU.
    """
    return (values * mask).sum() / mask.sum().clamp(min=1)


def sum_losses(losses: Iterable[Scalar]) -> Scalar:
    """Add scalars up."""
    return sum(losses, torch.zeros(()))
