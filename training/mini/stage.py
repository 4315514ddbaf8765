"""One training loop for every stage: resumable, images counted, a budget in minutes."""

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

from training.mini import crew
from training.mini.device import dice, machine
from training.mini.settings import SEED, Pace

SAVE_EVERY, REPORT_EVERY = 120, 30  # seconds

Scalar = Float[Tensor, ""]
Leg = dict[str, Any]
"""Of a stage's training what one machine did: its name, the pictures seen there, the minutes they took."""
Trained = TypeVar("Trained", bound=nn.Module)


class Stage(ABC, Generic[Trained]):
    """What a stage trains (`module`) and by what loss; the loop below does the rest.

    A stage is made from the folder that earlier stages lie in and its own name, which is its file's too.
    """

    name: str
    module: Trained

    @abstractmethod
    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """A loss on `batch` fresh pictures and its parts to report; `progress` runs 0..1 over the budget."""

    def parameters(self) -> list[nn.Parameter]:
        return [weight for weight in self.module.parameters() if weight.requires_grad]


class Run(Generic[Trained]):
    """A stage's weights, their running mean, the optimiser and the counts, on disk between sittings."""

    def __init__(self, stage: Stage[Trained], folder: Path, pace: Pace) -> None:
        self.stage, self.pace, self.file = stage, pace, folder / f"{stage.name}.pt"
        self.averaged = deepcopy(stage.module).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            stage.parameters(), lr=pace.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.images, self.steps, self.seconds = 0, 0, 0.0
        self.earlier: list[Leg] = []
        if self.file.exists():
            self.load()

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / (60 * self.pace.minutes))

    def load(self) -> None:
        state = state_in(self.file)
        self.stage.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.images, self.seconds, self.earlier = state["images"], state["seconds"], state["earlier"]
        if "optimiser" in state:  # not in one begun from what ships
            self.optimiser.load_state_dict(state["optimiser"])
            self.steps = state["steps"]

    def save(self) -> None:
        state = dict(
            module=self.stage.module.state_dict(),
            averaged=self.averaged.state_dict(),
            optimiser=self.optimiser.state_dict(),
            images=self.images,
            steps=self.steps,
            seconds=self.seconds,
            machine=machine(),
            earlier=self.earlier,
        )
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def learning_rate(self) -> float:
        """A short climb, level, then down to nothing over the last 35 % of the budget."""
        climb = min(1.0, (self.steps + 1) / 200)
        return self.pace.lr * climb * min(1.0, (1 - self.progress) / 0.35 + 0.01)

    def step(self) -> dict[str, Scalar]:
        """One batch; the generator's seed counts images, so a resumed run sees no picture twice."""
        begun = time.perf_counter()
        generator = dice(SEED + self.images + crew.place() * self.pace.batch)
        self.stage.module.train()
        loss, parts = self.stage.loss(self.pace.batch, generator, self.progress)
        self._descend(loss)
        self.steps += 1
        self.images += self.pace.batch * crew.size()
        self._average()
        self._spend(time.perf_counter() - begun)
        return {"loss": loss.detach(), **parts}

    def _spend(self, seconds: float) -> None:
        """Count the time, the same in all processes: the rate of learning hangs on it."""
        self.seconds += crew.mean(seconds)

    def _descend(self, loss: Scalar) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        crew.share([weight.grad for weight in self.stage.parameters() if weight.grad is not None])
        nn.utils.clip_grad_norm_(self.stage.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.step()

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.pace.ema, (1 + self.steps) / (10 + self.steps))
        means: list[Tensor] = [*self.averaged.parameters()]
        news: list[Tensor] = [*self.stage.module.parameters()]
        torch._foreach_lerp_(means, news, 1 - keep)
        for mean, new in zip(self.averaged.buffers(), self.stage.module.buffers(), strict=True):
            mean.copy_(new)


class Report:
    """Means over some steps, told in one line of JSON."""

    def __init__(self) -> None:
        self.sums: dict[str, Scalar] = {}
        self.count = 0

    def add(self, parts: Mapping[str, Scalar]) -> None:
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach()
        self.count += 1

    def tell(self, run: Run) -> None:
        means = {name: round(float(value) / self.count, 4) for name, value in self.sums.items()}
        counts = dict(stage=run.stage.name, images=run.images, minutes=round(run.seconds / 60, 1))
        print(json.dumps({**counts, **means}), flush=True)


def train(stage: Stage[Trained], folder: Path, pace: Pace, steps: int | None = None) -> Run[Trained]:
    """Train until the budget is spent, or until so many steps are made in all; returns the finished run.

    Of several processes that train together, the first reports and writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run, report, first = Run(stage, folder, pace), Report(), crew.place() == 0
    reported = saved = time.monotonic()
    while run.progress < 1 and (steps is None or run.steps < steps):
        report.add(run.step())
        now = time.monotonic()
        if first and now - reported > REPORT_EVERY:
            report.tell(run)
            report, reported = Report(), now
        if first and now - saved > SAVE_EVERY:
            run.save()
            saved = now
    if first:
        run.save()
    return run


def averaged(stage: Stage[Trained], folder: Path) -> Trained:
    """The trained stage's averaged weights, frozen; FileNotFoundError when it was never trained."""
    stage.module.load_state_dict(weights_of(stage.name, folder))
    return stage.module.eval().requires_grad_(False)


def weights_of(name: str, folder: Path) -> dict[str, Tensor]:
    """The averaged weights that a stage has left in the folder."""
    return state_in(folder / f"{name}.pt")["averaged"]


def part_of(name: str, part: str, folder: Path) -> dict[str, Tensor]:
    """Those of the stage's averaged weights that are of one part of its module, as that part names them."""
    weights, within = weights_of(name, folder), f"{part}."
    return {key.removeprefix(within): weights[key] for key in weights if key.startswith(within)}


def legs(state: dict[str, Any]) -> list[Leg]:
    """How a state came about: what it was begun from, then its own run."""
    before = sum(leg["images"] for leg in state["earlier"])
    if state["images"] == before:
        return state["earlier"]
    own = dict(
        machine=state["machine"], images=state["images"] - before, minutes=round(state["seconds"] / 60, 1)
    )
    return [*state["earlier"], own]


def state_in(file: Path) -> dict[str, Any]:
    """What a run has written, on the default device."""
    return torch.load(file, map_location=torch.get_default_device(), weights_only=True)


def mean_where(chosen: Bool[Tensor, " row"], values: Float[Tensor, " row"]) -> Scalar:
    """The mean of the chosen; nought of none. A GPU is not waited for, as it is where rows are picked out."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def total(losses: Iterable[Scalar]) -> Scalar:
    return sum(losses, torch.zeros(()))
