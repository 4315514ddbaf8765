"""While the tests run, a tensor whose shape differs from its annotation is an error."""

import pytest
import torch
from jaxtyping import TypeCheckError

from instantstyle.core.content_removal import weighted_mean


def test_a_tensor_of_the_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError):
        weighted_mean(torch.zeros(()), [1.0])
