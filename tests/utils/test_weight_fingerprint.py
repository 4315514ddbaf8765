"""Fingerprints of weights do not depend on dtype and order, but on signs, shapes and names."""

import pytest
import torch

from instantstyle.utils.weight_fingerprint import fingerprint_weights

from ..helpers import seeded_generator

WEIGHTS = {
    "a": torch.randn(5, 3, generator=seeded_generator(0)),
    "b": torch.randn(7, generator=seeded_generator(1)),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_does_not_change_the_fingerprint(dtype):
    rounded = {name: tensor.to(dtype) for name, tensor in reversed(WEIGHTS.items())}
    assert fingerprint_weights(rounded) == fingerprint_weights(WEIGHTS)


@pytest.mark.parametrize("change", [{"a": -WEIGHTS["a"]}, {"a": WEIGHTS["a"].T}, {"c": WEIGHTS["a"]}])
def test_other_weights_have_another_fingerprint(change):
    assert fingerprint_weights({**WEIGHTS, **change}) != fingerprint_weights(WEIGHTS)
