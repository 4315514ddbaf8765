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


def test_other_programs_that_slow_single_products_down_do_not_decide(monkeypatch):
    """Most products of bfloat16 are slowed down, and one is not."""
    slow = iter([*[9.0] * 6, 1.0, 9.0, 9.0, 9.0])
    monkeypatch.setattr(module, "_time_product", lambda dtype: 2.0 if dtype == torch.float32 else next(slow))
    assert fastest_cpu_dtype.__wrapped__() == torch.bfloat16


def test_an_emulated_dtype_is_measured_twice_only(monkeypatch):
    measured: list[torch.dtype] = []
    monkeypatch.setattr(
        module, "_time_product", lambda dtype: measured.append(dtype) or (1.0 if dtype == torch.float32 else 300.0)
    )
    assert fastest_cpu_dtype.__wrapped__() == torch.float32
    assert measured.count(torch.bfloat16) == 2


def test_the_measurement_runs_a_product():
    assert module._time_product(torch.float32) > 0
