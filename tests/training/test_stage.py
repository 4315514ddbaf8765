"""The training loop, on a stage that learns within milliseconds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from training.mini.__main__ import main
from training.mini.settings import CPU, CUDA, Budget
from training.mini.stage import Report, Run, Stage, load_averaged_module, sum_losses, train
from training.mini.stages import STAGES

ENDLESS = Budget(minutes=1e6, batch=4, lr=0.1, ema=0.9)


class CountingLinear(nn.Linear):
    """A linear layer with a buffer that counts batches."""

    batches: Tensor

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.register_buffer("batches", torch.zeros(()))


class Doubling(Stage[CountingLinear]):
    """Learns y = 2x and records every x."""

    def __init__(self, folder: Path | None = None, name: str = "doubling") -> None:
        self.name, self.module = name, CountingLinear()
        self.seen: list[Tensor] = []

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(batch, 1, generator=generator)
        self.seen.append(x)
        self.module.batches += 1
        error = (self.module(x) - 2 * x).pow(2).mean()
        return error, dict(double=2 * error.detach())


@pytest.fixture
def create_run(tmp_path) -> Callable[..., Run[CountingLinear]]:
    def create(budget: Budget = ENDLESS) -> Run[CountingLinear]:
        torch.manual_seed(0)
        return Run(Doubling(), tmp_path, budget)

    return create


def all_weights(run: Run) -> dict[str, Tensor]:
    parts = {"module": run.stage.module, "averaged": run.averaged}
    return {f"{part}.{name}": w for part, module in parts.items() for name, w in module.state_dict().items()}


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = train(Doubling(), tmp_path / "whole", ENDLESS, steps=0)
    start = {name: weight.clone() for name, weight in whole.stage.module.state_dict().items()}
    parts = Doubling()
    parts.module.load_state_dict(start)
    whole = train(whole.stage, tmp_path / "whole", ENDLESS, steps=6)
    train(parts, tmp_path / "parts", ENDLESS, steps=2)
    resumed = train(Doubling(), tmp_path / "parts", ENDLESS, steps=6)
    assert (resumed.steps, resumed.images) == (whole.steps, whole.images) == (6, 24)
    assert all(map(torch.equal, all_weights(resumed).values(), all_weights(whole).values()))


def test_no_sample_is_repeated(tmp_path):
    first, second = Doubling(), Doubling()
    train(first, tmp_path, ENDLESS, steps=2)
    train(second, tmp_path, ENDLESS, steps=4)
    seen = torch.cat(first.seen + second.seen).flatten()
    assert len(seen) == len(seen.unique()) == 16


def test_a_run_learns(tmp_path):
    run = train(Doubling(), tmp_path, ENDLESS, steps=300)
    assert run.stage.module.weight.item() == pytest.approx(2, abs=0.05)
    assert run.averaged.weight.item() == pytest.approx(2, abs=0.05)


def test_a_finished_run_does_not_change(tmp_path):
    finished = train(Doubling(), tmp_path, ENDLESS, steps=3)
    again = train(Doubling(), tmp_path, ENDLESS, steps=3)
    assert again.steps == 3
    assert all(map(torch.equal, all_weights(again).values(), all_weights(finished).values()))


def test_a_run_ends_when_its_minutes_are_spent(tmp_path):
    run = train(Doubling(), tmp_path, Budget(minutes=1e-4, batch=2, lr=0.1))
    assert run.progress == 1
    assert run.images == 2 * run.steps > 0


def test_the_learning_rate_warms_up_stays_and_decays(create_run):
    run = create_run(Budget(minutes=1.0, batch=4, lr=0.5))
    assert run.learning_rate() == pytest.approx(0.5 / 200)
    run.steps = 1000
    rates = []
    for share in (0.0, 0.6, 0.9, 1.0):
        run.seconds = 60 * share
        rates.append(run.learning_rate())
    assert rates[:2] == [0.5, 0.5]
    assert rates[2] == pytest.approx(0.5 * (0.1 / 0.35 + 0.01))
    assert rates[3] <= 0.01 * 0.5


def test_the_running_mean_follows_the_weights_and_copies_buffers(create_run):
    run = create_run()
    before = run.averaged.weight.clone()
    run.step()
    after = before.lerp(run.stage.module.weight, 1 - 2 / 11)
    assert torch.allclose(run.averaged.weight, after)
    assert run.averaged.batches == run.stage.module.batches == 1


def test_an_interrupted_save_leaves_the_previous_state(create_run, tmp_path, monkeypatch):
    run = create_run()
    run.step()
    run.save()

    def full_disk(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    run.step()
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        run.save()
    assert create_run().steps == 1


def test_averaged_weights_are_loaded_frozen(tmp_path):
    run = train(Doubling(), tmp_path, ENDLESS, steps=2)
    module = load_averaged_module(Doubling(), tmp_path)
    assert module.weight.equal(run.averaged.weight)
    assert not module.training
    assert not any(weight.requires_grad for weight in module.parameters())


def test_an_untrained_stage_has_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="doubling"):
        load_averaged_module(Doubling(), tmp_path)


def test_a_report_prints_means(create_run, capsys):
    report = Report()
    report.add({"loss": torch.tensor(1.0)})
    report.add({"loss": torch.tensor(2.0)})
    report.print(create_run())
    assert json.loads(capsys.readouterr().out) == dict(stage="doubling", images=0, minutes=0.0, loss=1.5)


def test_losses_are_added():
    assert sum_losses(torch.tensor(float(part)) for part in (1, 2, 3)) == 6


def test_every_stage_has_a_budget_on_every_device():
    assert list(CPU) == list(CUDA) == list(STAGES)


def test_an_unknown_stage_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["unnet"])
    assert "no stage 'unnet'; there are vae, clip," in capsys.readouterr().err
