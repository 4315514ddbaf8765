"""Images and masks as numpy arrays or torch tensors.

The values are uint8 in 0..255, float in 0..1, or boolean. The axes are

| | height × width | with channels |
|---|---|---|
| numpy array | `[H, W]` | `[H, W, C]`, or `[C, H, W]` where only that fits |
| torch tensor | `[H, W]` | `[C, H, W]`, or `[H, W, C]` where only that fits |

with 1 (grey), 3 (RGB) or 4 (RGBA) channels. Leading axes of length 1 are dropped, as in a batch of one image.
"""

from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ImageError


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, known by its methods, as importing torch takes seconds."""

    @property
    def dtype(self) -> Any:
        """The data type."""
        ...

    def detach(self) -> Any:
        """Return the tensor without gradients."""
        ...

    def cpu(self) -> Any:
        """Return the tensor on the CPU."""
        ...


ArrayLike = npt.NDArray[Any] | TensorLike

ArrayMeaning = Literal["image", "mask"]

ROUNDING = 1e-3
"""How far floats may lie outside of 0..1, as interpolation leaves them; they are clipped."""

_CHANNELS = (1, 3, 4)


def is_array(value: object) -> TypeGuard[ArrayLike]:
    """Return whether a value is a numpy array or a torch tensor."""
    return isinstance(value, np.ndarray | TensorLike)


def image_from_array(array: ArrayLike, name: str, meaning: ArrayMeaning = "image") -> Image.Image:
    """Convert an array or tensor to an image.

    Args:
        array: A numpy array or a torch tensor, on any device. See the module for types, values and axes.
        name: Name of the argument in error messages.
        meaning: In a `mask`, integers that are 0 and 1 only are black and white.

    Returns:
        The image, of mode `L`, `RGB` or `RGBA`.

    Raises:
        ImageError: Type, axes or values are others; the message names them.
    """
    values = _arrange_axes(array, name)
    return Image.fromarray(np.ascontiguousarray(_to_levels(values, meaning, array, name)))


def weights_from_array(array: ArrayLike, name: str) -> npt.NDArray[np.float32] | None:
    """Read a mask of floats without rounding them to 8 bits.

    Args:
        array: As for `image_from_array`.
        name: As for `image_from_array`.

    Returns:
        Weights of shape `[height, width]` in 0..1; None for other masks, which are images.

    Raises:
        ImageError: As `image_from_array`.
    """
    values = _arrange_axes(array, name)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        return None
    _check_range(values, array, name)
    return values.astype(np.float32).clip(0, 1)


def _arrange_axes(array: ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return the values as `[height, width]` or, with 3 or 4 channels, `[height, width, channels]`."""
    values, is_tensor = _as_numpy(array, name)
    channels_first = _find_channels_first(values.shape, is_tensor)
    if channels_first is None:
        raise _array_error(array, name, "expected [height, width], or 1, 3 or 4 channels beside them")
    if values.ndim == 4:
        values = values[0]
    if values.ndim == 3 and channels_first:
        values = values.transpose(1, 2, 0)
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _as_numpy(array: ArrayLike, name: str) -> tuple[npt.NDArray[Any], bool]:
    """Copy a tensor to the CPU; returns the array, and whether it was a tensor."""
    if isinstance(array, np.ma.MaskedArray):
        raise _array_error(array, name, "numpy's masked arrays are not read; fill it, array.filled(0)")
    if isinstance(array, np.ndarray):
        return array, False
    try:
        tensor = array.detach().cpu()
        # numpy has no bfloat16.
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy(), True
    # Tensors without values (on `meta`), sparse and quantized ones; torch raises different errors for them.
    except (RuntimeError, TypeError, NotImplementedError, ValueError):
        raise _array_error(array, name, "its values cannot be read; pass a dense tensor with values") from None


def _find_channels_first(shape: tuple[int, ...], is_tensor: bool) -> bool | None:
    """Return whether channels are the first axis of an image; None if it cannot have this shape."""
    if not 2 <= len(shape) <= 4 or (len(shape) == 4 and shape[0] != 1) or 0 in shape:
        return None
    if len(shape) == 2:
        return False
    first, last = shape[-3] in _CHANNELS, shape[-1] in _CHANNELS
    if first and last:
        return is_tensor
    return first if first or last else None


def _to_levels(values: npt.NDArray[Any], meaning: ArrayMeaning, array: ArrayLike, name: str) -> npt.NDArray[np.uint8]:
    """Convert values to 0..255."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    is_whole = np.issubdtype(values.dtype, np.integer)
    if is_whole and meaning == "mask" and values.min() >= 0 and values.max() <= 1:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise _array_error(array, name, "expected uint8 in 0..255 or float in 0..1; convert it first", values)
    _check_range(values, array, name)
    return (values.astype(np.float32).clip(0, 1) * 255).round().astype(np.uint8)


def _check_range(values: npt.NDArray[Any], array: ArrayLike, name: str) -> None:
    """Raise `ImageError` for floats outside of 0..1, NaN included."""
    low, high = values.min(), values.max()
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    hint = "divide it by 255 or convert it to uint8" if low >= 0 and 1 < high <= 255 else "scale it to 0..1"
    raise _array_error(array, name, f"expected uint8 in 0..255 or float in 0..1; {hint}", values)


def _array_error(array: Any, name: str, expected: str, values: npt.NDArray[Any] | None = None) -> ImageError:
    dtype = str(array.dtype).removeprefix("torch.")
    span = ""
    if values is not None and (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)):
        span = f" with values {values.min():.4g}..{values.max():.4g}"
    return ImageError(f"{name} is {dtype} {list(array.shape)}{span}; {expected}.")
