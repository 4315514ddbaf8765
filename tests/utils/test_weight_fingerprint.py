"""One set of weights has one fingerprint, whatever its dtype and order."""

import pytest
import torch

from instantstyle.utils.weight_fingerprint import weight_fingerprint

from ..helpers import dice

WEIGHTS = {"a": torch.randn(5, 3, generator=dice(0)), "b": torch.randn(7, generator=dice(1))}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_changes_no_fingerprint(dtype):
    rounded = {name: tensor.to(dtype) for name, tensor in reversed(WEIGHTS.items())}
    assert weight_fingerprint(rounded) == weight_fingerprint(WEIGHTS)


@pytest.mark.parametrize("change", [{"a": -WEIGHTS["a"]}, {"a": WEIGHTS["a"].T}, {"c": WEIGHTS["a"]}])
def test_other_weights_have_another(change):
    assert weight_fingerprint({**WEIGHTS, **change}) != weight_fingerprint(WEIGHTS)
