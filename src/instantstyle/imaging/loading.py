"""Decoding of images that users supply, and their conversion to RGB.

The header is checked before any pixel is decoded. Images are cropped only on request; `fit` defines the three
ways of making an image square.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError, suggest_nearest
from ..recipe import CROPS
from ..utils.text import one_line

MAX_PIXELS = 128_000_000
"""Largest image that is decoded: 128 megapixels, 384 MB as RGB. No camera in common use produces more."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
"""Formats that are decoded. Kept short to limit the attack surface of Pillow's decoders."""


def open_reference(source: str | Path | Image.Image) -> Image.Image:
    """Load an image as upright RGB.

    Args:
        source: An image file, or an image in memory, which is not changed.

    Returns:
        The first frame as RGB, rotated as its EXIF data says, composited on white where it is transparent.

    Raises:
        ImageError: The image does not exist, is larger than `MAX_PIXELS`, or cannot be decoded.
    """
    if isinstance(source, Image.Image):
        with _as_image_errors("The image"):
            return to_rgb(source)
    with open_image(source) as image:
        return to_rgb(image)


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file with Pillow after checking its header.

    Args:
        path: The file.

    Yields:
        The image; its pixels are decoded when they are first used.

    Raises:
        ImageError: As `open_reference`; decoding errors inside the `with` block are converted too.
    """
    path = Path(path)
    _check_is_file(path)
    with decode_image(path, str(path)) as image:
        yield image


@contextmanager
def decode_image(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """Open an existing image file, or the bytes of one, with Pillow after checking its header.

    Args:
        source: The file or its bytes.
        name: Name of the image in error messages.

    Yields:
        The image; its pixels are decoded when they are first used.

    Raises:
        ImageError: The image is larger than `MAX_PIXELS` or cannot be decoded; decoding errors inside the
            `with` block are converted too.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    with _as_image_errors(name), warnings.catch_warnings():
        # Pillow warns of large sizes and slight damage; here an image is either accepted or an error.
        warnings.simplefilter("ignore")
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name, f"{image.width}×{image.height} pixels")
            yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to upright RGB.

    Args:
        image: The image; of an animation its current frame counts.

    Returns:
        RGB, rotated as the EXIF data says, composited on white where it is transparent. 16-bit and float
        images are scaled to 8 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        # Pillow's own `convert` clips: it turns every value above 255 white.
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        shades = values / _white_point(image.mode, values.max()) * 255
        return Image.fromarray(shades.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


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
    if crop == "squash":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if crop == "pad":
        return _pad_to_square(image, size)
    if crop == "center":
        return _crop_to_square(image, size)
    raise ImageError(
        f"There is no crop {crop!r}; use {_join_with_or(CROPS)}.{suggest_nearest(str(crop), list(CROPS))}"
    )


def file_sha256(path: str | Path) -> str:
    """Compute the SHA-256 of an image file, which identifies it in a recipe whatever its name is.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.

    Raises:
        ImageError: The file does not exist or is empty.
    """
    _check_is_file(Path(path))
    return sha256(Path(path).read_bytes()).hexdigest()


@contextmanager
def _as_image_errors(name: str) -> Iterator[None]:
    """Convert every error that decoders raise to an `ImageError` of one line."""
    try:
        yield
    except Image.DecompressionBombError:
        raise _too_large(name, "far too many pixels") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image in a supported format; use {_join_with_or(FORMATS)}.") from None
    # Decoders report damage as any of these, by format: truncated data, bad chunks, absurd fields.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError) as error:
        raise ImageError(f"{name} is damaged or cut short ({one_line(error)}); save it again.") from None


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name the image in it.")
    if not path.exists():
        raise ImageError(f"{path} does not exist; looked in {path.absolute().parent}.")
    if not path.is_file():
        raise ImageError(f"{path} is not a regular file; a reference is an image file.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); save the image again.")


def _too_large(name: str, size: str) -> ImageError:
    return ImageError(f"{name} has {size}; at most {MAX_PIXELS // 10**6} megapixels are decoded. Reduce its size.")


def _white_point(mode: str, brightest: float) -> float:
    """Choose the value of white: defined for 16-bit modes, else the least usual one above all values."""
    if mode.startswith("I;16"):
        return 65535.0
    usual = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
    return next((white for white in usual if brightest <= white), brightest)


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


def _join_with_or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
