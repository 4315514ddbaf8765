"""Processes that train together make one step from the samples of all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from training.mini import distributed
from training.mini.settings import Budget
from training.mini.stage import Stage, train

BUDGET = Budget(minutes=1e6, batch=4, lr=0.1)

pytestmark = pytest.mark.slow


class Doubling(Stage[nn.Module]):
    """Learns y = 2x and records every x."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.name, self.module, self.seen = "doubling", nn.Linear(1, 1), list[Tensor]()

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(batch, 1, generator=generator)
        self.seen.append(x)
        return (self.module(x) - 2 * x).pow(2).mean(), {}


class GivenBatches(Doubling):
    """Learns y = 2x from given batches."""

    def __init__(self, batches: list[Tensor]) -> None:
        super().__init__()
        self.batches = iter(batches)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = next(self.batches)
        return (self.module(x) - 2 * x).pow(2).mean(), {}


def train_and_save(folder: Path, steps: int) -> None:
    """Train in one process, and save its samples and its weights."""
    stage = Doubling()
    run = train(stage, folder, BUDGET, steps)
    record = dict(seen=torch.stack(stage.seen), weights=stage.module.state_dict(), images=run.images)
    torch.save(record, folder / f"process-{distributed.rank()}.pt")


@pytest.fixture
def records(tmp_path) -> list[dict[str, Any]]:
    distributed.run_processes(2, train_and_save, tmp_path, 5)
    return [torch.load(tmp_path / f"process-{number}.pt", weights_only=True) for number in range(2)]


def test_two_processes_make_the_same_steps_as_one_with_both_batches(records, tmp_path):
    first, second = records
    both = GivenBatches([*torch.cat([first["seen"], second["seen"]], 1)])
    train(both, tmp_path / "one", BUDGET, steps=5)
    for process in records:
        for name, weight in both.module.state_dict().items():
            assert torch.allclose(process["weights"][name], weight, atol=1e-6)


def test_processes_share_no_sample_and_count_all(records):
    seen = torch.cat([process["seen"].flatten() for process in records])
    assert len(seen.unique()) == len(seen) == 40
    assert [process["images"] for process in records] == [40, 40]


def test_one_process_needs_no_others(tmp_path):
    distributed.run_processes(1, train_and_save, tmp_path, 2)
    assert torch.load(tmp_path / "process-0.pt", weights_only=True)["images"] == 8
