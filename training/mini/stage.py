"""One training loop for every stage: resumable, images counted, a budget in minutes."""

import json
import time
from abc import ABC, abstractmethod
from copy import deepcopy
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from training.mini.settings import SEED, Pace

SAVE_EVERY, REPORT_EVERY = 120, 30  # seconds


class Stage(ABC):
    """What a stage trains (`module`) and by what loss; the loop below does the rest."""

    name: str
    module: nn.Module

    @abstractmethod
    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """A loss on `batch` fresh pictures and its parts to report; `progress` runs 0..1 over the budget."""

    def parameters(self) -> list[nn.Parameter]:
        return [weight for weight in self.module.parameters() if weight.requires_grad]


class Run:
    """A stage's weights, their running mean, the optimiser and the counts, on disk between sittings."""

    def __init__(self, stage: Stage, folder: Path, pace: Pace):
        self.stage, self.pace, self.file = stage, pace, folder / f"{stage.name}.pt"
        self.averaged = deepcopy(stage.module).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(stage.parameters(), lr=pace.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.images, self.steps, self.seconds = 0, 0, 0.0
        if self.file.exists():
            self.load()

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / (60 * self.pace.minutes))

    def load(self) -> None:
        state = torch.load(self.file, weights_only=True)
        self.stage.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.images, self.steps, self.seconds = state["images"], state["steps"], state["seconds"]

    def save(self) -> None:
        state = dict(
            module=self.stage.module.state_dict(),
            averaged=self.averaged.state_dict(),
            optimiser=self.optimiser.state_dict(),
            images=self.images,
            steps=self.steps,
            seconds=self.seconds,
        )
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def learning_rate(self) -> float:
        """A short climb, level, then down to nothing over the last 35 % of the budget."""
        climb = min(1.0, (self.steps + 1) / 200)
        return self.pace.lr * climb * min(1.0, (1 - self.progress) / 0.35 + 0.01)

    def step(self) -> dict[str, Tensor]:
        """One batch; the generator's seed counts images, so a resumed run sees no picture twice."""
        begun = time.perf_counter()
        generator = Generator().manual_seed(SEED + self.images)
        self.stage.module.train()
        loss, parts = self.stage.loss(self.pace.batch, generator, self.progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.stage.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.step()
        self.steps += 1
        self.images += self.pace.batch
        self._average()
        self.seconds += time.perf_counter() - begun
        return {"loss": loss.detach(), **parts}

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.pace.ema, (1 + self.steps) / (10 + self.steps))
        pairs = zip(self.averaged.parameters(), self.stage.module.parameters(), strict=True)
        means, news = zip(*pairs, strict=True)
        torch._foreach_lerp_(means, news, 1 - keep)
        for mean, new in zip(self.averaged.buffers(), self.stage.module.buffers(), strict=True):
            mean.copy_(new)


def train(stage: Stage, folder: Path, pace: Pace) -> Run:
    """Train until the budget is spent, a line every REPORT_EVERY seconds; returns the finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(stage, folder, pace)
    reported = saved = time.monotonic()
    sums: dict[str, float] = {}
    count = 0
    while run.progress < 1:
        for name, value in run.step().items():
            sums[name] = sums.get(name, 0.0) + float(value)
        count += 1
        now = time.monotonic()
        if now - reported > REPORT_EVERY:
            means = {name: round(value / count, 4) for name, value in sums.items()}
            print(json.dumps(dict(stage=stage.name, images=run.images, minutes=round(run.seconds / 60, 1), **means)), flush=True)
            reported, sums, count = now, {}, 0
        if now - saved > SAVE_EVERY:
            run.save()
            saved = now
    run.save()
    return run


def averaged(stage: Stage, folder: Path) -> nn.Module:
    """The trained stage's averaged weights, frozen; FileNotFoundError when it was never trained."""
    state = torch.load(folder / f"{stage.name}.pt", weights_only=True)
    stage.module.load_state_dict(state["averaged"])
    return stage.module.eval().requires_grad_(False)
