"""Whether tensors hold NaN or infinity."""

from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite, in any dtype."""
    # torch.isfinite is not implemented for all formats of 8 bits.
    numbers = tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor
    return bool(numbers.isfinite().all())
