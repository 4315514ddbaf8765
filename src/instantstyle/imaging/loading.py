"""Loading of images that users supply, and their conversion to RGB.

The header is checked before any pixel is decoded. Images are cropped only on request; `fit` defines the three
ways of making an image square.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ImageError, suggest_nearest
from ..recipe_types import CROPS
from ..utils.text import cut, shorten
from .arrays import ArrayLike, ArrayMeaning, image_from_array, is_array, weights_from_array
from .conversion import to_rgb
from .decoding import MAX_FILE_BYTES, as_image_errors, decode_image, join_with_or

T = TypeVar("T")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif")
"""Suffixes of the files that are read from a folder."""

BytesLike = bytes | bytearray | memoryview
ImageLike = str | Path | Image.Image | BytesLike | ArrayLike
"""An image file or its bytes, an image in memory, or an array or tensor as `imaging.arrays` documents."""


def is_image_like(value: object) -> TypeGuard[ImageLike]:
    """Return whether a value is of a type that `open_reference` accepts."""
    return isinstance(value, str | Path | Image.Image | BytesLike) or is_array(value)


def open_reference(source: object, name: str = "The image") -> Image.Image:
    """Load an image as upright RGB.

    Args:
        source: An image file or its bytes, or an image in memory, which is not changed. Arrays and tensors are
            uint8 in 0..255 or float in 0..1, see `imaging.arrays`.
        name: Name of the image in error messages, for a source that has no path.

    Returns:
        The first frame as RGB in sRGB, rotated as its EXIF data says, composited on white where it is transparent.

    Raises:
        ImageError: The image does not exist, is larger than `MAX_PIXELS` or `MAX_BYTES`, or cannot be decoded.
    """
    return _load(source, name, "white")


def open_mask(source: object, name: str = "The mask") -> Image.Image:
    """Load a mask as grey: white where it acts, black where it does not and where it is transparent.

    Args:
        source: As for `open_reference`; an array that holds no other values than 0 and 1 is black and white.
        name: Name of the mask in error messages, for a source that has no path.

    Returns:
        Mode `L`, upright.

    Raises:
        ImageError: As `open_reference`.
    """
    return open_color_mask(source, name).convert("L")


def open_color_mask(source: object, name: str = "The mask") -> Image.Image:
    """Load a mask as `open_mask` does, but as RGB, for a caller that resizes it before it becomes grey."""
    return _load(source, name, "black", "mask")


def read_mask(source: object, name: str = "The mask") -> npt.NDArray[np.float32]:
    """Load a mask as weights.

    Args:
        source: As for `open_mask`. Floats with one channel are not rounded to 8 bits.
        name: As for `open_mask`.

    Returns:
        Weights of shape `[height, width]`: white 1, black and transparent 0.

    Raises:
        ImageError: As `open_reference`.
    """
    weights = weights_from_array(source, name) if is_array(source) else None
    if weights is None:
        weights = np.asarray(open_mask(source, name), dtype=np.float32) / np.float32(255)
    return weights


def _load(source: object, name: str, background: str, meaning: ArrayMeaning = "image") -> Image.Image:
    if is_array(source):
        source = image_from_array(source, name, meaning)
    if isinstance(source, Image.Image):
        if not source.width * source.height:
            raise ImageError(f"{name} has {source.width}×{source.height} pixels; pass one with pixels.")
        _check_open(source, name)
        with as_image_errors(name):
            return to_rgb(_scale_levels(source, name, meaning), background)
    if isinstance(source, BytesLike):
        if not source:
            raise ImageError(f"{name} is empty (0 bytes); pass the bytes of an image file.")
        with decode_image(bytes(source), name) as image:
            return to_rgb(_scale_levels(image, name, meaning), background)
    if isinstance(source, str | Path):
        with open_image(source) as image:
            return to_rgb(_scale_levels(image, name, meaning), background)
    raise ImageError(
        f"{name} is {type(source).__name__}; pass the path or the bytes of an image file, a PIL image, an array or "
        "a tensor."
    )


def _check_open(image: Image.Image, name: str) -> None:
    try:
        image.load()
    except ValueError as error:
        if "closed" in str(error):
            raise ImageError(f"{name} is a PIL image that was closed; pass its path, or use it before.") from None
    # Other errors are converted where the image is decoded.
    except Exception:
        pass


def _scale_levels(image: Image.Image, name: str, meaning: ArrayMeaning) -> Image.Image:
    """Make a grey mask of no other levels than 0 and 1 black and white, as in an array of integers."""
    is_grey = image.mode in ("L", "I") or image.mode.startswith("I;16")
    if meaning != "mask" or not is_grey or "transparency" in image.info or not 0 < np.max(np.asarray(image)) <= 1:
        return image
    scaled = image_from_array(np.asarray(image), name, meaning)
    scaled.info = {key: value for key, value in image.info.items() if key == "exif"}
    return scaled


@contextmanager
def open_image(path: str | Path, formats: str | None = None) -> Iterator[Image.Image]:
    """Open an image file with Pillow after checking its header.

    Args:
        path: The file.
        formats: What messages advise to use instead of a file that is no image; None for all formats.

    Yields:
        The image; its pixels are decoded when they are first used.

    Raises:
        ImageError: As `open_reference`; decoding errors inside the `with` block are converted too.
    """
    path = Path(path)
    _check_is_file(path)
    with decode_image(path, str(path), formats) as image:
        yield image


def fit(image: Image.Image, size: int, crop: str = "center") -> Image.Image:
    """Resize an image to a square with bicubic interpolation.

    Args:
        image: An RGB image.
        size: Side of the square in px.
        crop: `center` cuts off the ends of the long side as CLIP's preprocessing does, `pad` adds white,
            `squash` distorts.

    Raises:
        ImageError: There is no such crop.
    """
    check_crop(crop)
    if crop == "squash":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if crop == "pad":
        return _pad_to_square(image, size)
    return _crop_to_square(image, size)


def check_crop(crop: object) -> None:
    """Raise `ImageError` if there is no such crop."""
    if not isinstance(crop, str) or crop not in CROPS:
        nearest = suggest_nearest(str(crop), list(CROPS))
        raise ImageError(f"There is no crop {shorten(crop)}; use {join_with_or(CROPS)}.{nearest}")


def read_image_bytes(path: str | Path) -> bytes:
    """Read an image file as it is, so that the same bytes can be hashed and decoded.

    Args:
        path: The file.

    Returns:
        The content of the file, at least one byte.

    Raises:
        ImageError: The file does not exist, is empty, is larger than `MAX_FILE_BYTES` or cannot be read.
    """
    _check_is_file(Path(path))
    try:
        with open(path, "rb") as file:
            # One more than allowed: the file may have grown since its size was checked.
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}).") from None
    _check_size(cut(str(path), 300), len(data))
    return data


def decode_and_hash(path: str | Path, decode: Callable[[bytes, str], T]) -> tuple[T, str]:
    """Decode an image file and compute its SHA-256, both from the same bytes.

    The file is read once: if it changes meanwhile, the hash is still that of the image.

    Args:
        path: The file.
        decode: Function of the file's content and of its name in error messages, such as `open_reference`.

    Returns:
        What `decode` returns, and 64 hexadecimal digits.

    Raises:
        ImageError: The file cannot be read, or `decode` raises it.
    """
    data = read_image_bytes(path)
    return decode(data, str(path)), sha256(data).hexdigest()


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of an image file, which identifies it in a recipe whatever its name is.

    For a file that is decoded too, use `decode_and_hash`: between two readings a file may change.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.

    Raises:
        ImageError: The file does not exist, is empty, is larger than `MAX_FILE_BYTES` or cannot be read.
    """
    _check_is_file(Path(path))
    try:
        with open(path, "rb") as file:
            return file_digest(file, sha256).hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}).") from None


def _check_is_file(path: Path) -> None:
    name = cut(str(path), 300)
    if name == ".":
        raise ImageError("The path of the image is empty.")
    if name.startswith(("http:/", "https:/")):
        raise ImageError(f"{name} is an address, and images are read from files; download it first.")
    # os.path: the methods of `Path` raise `OSError` for names that file systems refuse.
    if os.path.isdir(path):
        raise ImageError(f"{name} is a folder; name the image in it.")
    if not os.path.exists(path):
        raise ImageError(f"{name} does not exist; looked in {cut(str(path.absolute().parent), 300)}.")
    if not os.path.isfile(path):
        raise ImageError(f"{name} is not a regular file; a reference is an image file.")
    # Before it is read or hashed: a sparse file of any size takes no space on a disk.
    _check_size(name, os.path.getsize(path))


def _check_size(name: str, size: int) -> None:
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes); save the image again.")
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{name} has {size / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read.")


def _crop_to_square(image: Image.Image, size: int) -> Image.Image:
    """Crop as CLIP's preprocessing: shortest side to `size`, long side rounded down, crop rounded up-left."""
    # Only the middle of a strip is enlarged: all of a strip of 1 × 100,000 px would exhaust the memory.
    longest = 16 * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    image = image.crop((left, top, left + min(image.width, longest), top + min(image.height, longest)))
    short = min(image.size)
    resized = (size * image.width // short, size * image.height // short)
    image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _pad_to_square(image: Image.Image, size: int) -> Image.Image:
    width, height = (max(1, round(size * side / max(image.size))) for side in image.size)
    canvas = Image.new("RGB", (size, size), "white")
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(resized, ((size - width) // 2, (size - height) // 2))
    return canvas
