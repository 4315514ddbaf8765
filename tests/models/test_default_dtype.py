"""The default dtype is chosen by the device and, on a CPU, by a measurement."""

import pytest
import torch

from instantstyle.models import default_dtype as module
from instantstyle.models.default_dtype import default_dtype, fastest_cpu_dtype


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_gpu_uses_float16(device):
    assert default_dtype(device) == torch.float16


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({torch.float32: 3.0, torch.bfloat16: 2.0}, torch.bfloat16),
        ({torch.float32: 3.0, torch.bfloat16: 2.9}, torch.float32),
        ({torch.float32: 3.0, torch.bfloat16: 900.0}, torch.float32),
    ],
    ids=["faster", "as fast", "emulated"],
)
def test_a_cpu_uses_bfloat16_only_if_it_is_faster(monkeypatch, seconds, expected):
    monkeypatch.setattr(module, "fastest_cpu_dtype", fastest_cpu_dtype.__wrapped__)
    monkeypatch.setattr(module, "_time_product", seconds.__getitem__)
    assert default_dtype("cpu") == default_dtype(None) == expected
    assert default_dtype("cpu", exact=True) == torch.float32


def test_the_measurement_runs_a_product():
    assert module._time_product(torch.float32) > 0
