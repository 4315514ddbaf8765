import pytest
import torch

from instantstyle.models import default_dtype as precision
from instantstyle.models.default_dtype import default_dtype, fastest_cpu_dtype


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_gpu_draws_in_halves(device):
    assert default_dtype(device) == torch.float16


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({torch.float32: 3.0, torch.bfloat16: 2.0}, torch.bfloat16),
        ({torch.float32: 3.0, torch.bfloat16: 2.9}, torch.float32),
        ({torch.float32: 3.0, torch.bfloat16: 900.0}, torch.float32),
    ],
    ids=["faster", "as fast", "emulated"],
)
def test_a_cpu_draws_in_halves_only_where_they_are_faster(monkeypatch, seconds, chosen):
    monkeypatch.setattr(precision, "fastest_cpu_dtype", fastest_cpu_dtype.__wrapped__)
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    assert default_dtype("cpu") == default_dtype(None) == chosen
    assert default_dtype("cpu", exact=True) == torch.float32


def test_the_measurement_is_of_real_products():
    assert precision._seconds(torch.float32) > 0
