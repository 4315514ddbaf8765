"""Processes that train together: one step for all, made of what each has seen."""

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from training.mini import crew
from training.mini.settings import Pace
from training.mini.stage import Stage, train

PACE = Pace(minutes=1e6, batch=4, lr=0.1)

pytestmark = pytest.mark.slow


class Doubling(Stage[nn.Module]):
    """Learns y = 2x, and remembers every x."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.name, self.module, self.seen = "doubling", nn.Linear(1, 1), list[Tensor]()

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(batch, 1, generator=generator)
        self.seen.append(x)
        return (self.module(x) - 2 * x).pow(2).mean(), {}


class AllTheirs(Doubling):
    """What the processes saw together, seen by one."""

    def __init__(self, batches: list[Tensor]) -> None:
        super().__init__()
        self.batches = iter(batches)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = next(self.batches)
        return (self.module(x) - 2 * x).pow(2).mean(), {}


def learn(folder: Path, steps: int) -> None:
    """One process's work: train, and write down what it saw and what it became."""
    stage = Doubling()
    run = train(stage, folder, PACE, steps)
    told = dict(seen=torch.stack(stage.seen), weights=stage.module.state_dict(), images=run.images)
    torch.save(told, folder / f"process-{crew.place()}.pt")


@pytest.fixture
def told(tmp_path) -> list[dict]:
    crew.together(2, learn, tmp_path, 5)
    return [torch.load(tmp_path / f"process-{place}.pt", weights_only=True) for place in range(2)]


def test_two_processes_make_the_steps_of_one_that_sees_both_their_pictures(told, tmp_path):
    first, second = told
    both = AllTheirs([*torch.cat([first["seen"], second["seen"]], 1)])
    train(both, tmp_path / "one", PACE, steps=5)
    for process in told:
        for name, weight in both.module.state_dict().items():
            assert torch.allclose(process["weights"][name], weight, atol=1e-6)


def test_no_picture_is_seen_by_two_processes_and_all_are_counted(told):
    seen = torch.cat([process["seen"].flatten() for process in told])
    assert len(seen.unique()) == len(seen) == 40
    assert [process["images"] for process in told] == [40, 40]


def test_one_process_needs_no_others(tmp_path):
    crew.together(1, learn, tmp_path, 2)
    assert torch.load(tmp_path / "process-0.pt", weights_only=True)["images"] == 8
