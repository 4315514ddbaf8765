"""One set of weights has one fingerprint, whatever its dtype and order."""

import pytest
import torch

from instantstyle.utils.weight_fingerprint import fingerprint_of

from ..helpers import dice

WEIGHTS = {"a": torch.randn(5, 3, generator=dice(0)), "b": torch.randn(7, generator=dice(1))}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_changes_no_fingerprint(dtype):
    rounded = {name: tensor.to(dtype) for name, tensor in reversed(WEIGHTS.items())}
    assert fingerprint_of(rounded) == fingerprint_of(WEIGHTS)


@pytest.mark.parametrize("change", [{"a": -WEIGHTS["a"]}, {"a": WEIGHTS["a"].T}, {"c": WEIGHTS["a"]}])
def test_other_weights_have_another(change):
    assert fingerprint_of({**WEIGHTS, **change}) != fingerprint_of(WEIGHTS)
