"""Decoding of image files with Pillow: which formats, up to which size, and what is wrong with the others."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError, features

from ..errors import ImageError, InstantStyleError
from ..utils.text import one_line
from .decoding_cost import check_cost, file_size
from .png_chunks import SIGNATURE, ByteFile, scale_transparent_value, split_png
from .tiff_layout import check_samples, check_strips, pixel_bits, tile_pixels
from .unsupported_formats import describe_unsupported

MAX_PIXELS = 128_000_000
"""Largest image that is decoded: 128 megapixels. No camera in common use produces more."""

MAX_BYTES = 4 * MAX_PIXELS
"""Largest image that is decoded, in bytes: Pillow holds RGB in 4 bytes a pixel; a TIFF of 16-bit RGBA needs 8."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", *(("AVIF",) if features.check("avif") else ()))
"""Formats that are decoded, AVIF where Pillow has it. Kept short to limit the attack surface of Pillow's decoders."""

MAX_FILE_BYTES = 1_000_000_000
"""Largest image file that is read."""


@contextmanager
def decode_image(source: Path | bytes, name: str, formats: str | None = None) -> Iterator[Image.Image]:
    """Open an existing image file, or the bytes of one, with Pillow after checking its header.

    Args:
        source: The file or its bytes.
        name: Name of the image in error messages.
        formats: The formats that an error advises to use; None for all that are decoded.

    Yields:
        The image; its pixels are decoded when they are first used. The `info` of a PNG has the texts before and after
        the pixels.

    Raises:
        ImageError: The image is larger than `MAX_PIXELS` or `MAX_BYTES`, would take long to decode, or cannot be
            decoded; decoding errors inside the `with` block are converted too.
    """
    with as_image_errors(name), warnings.catch_warnings(), _open_file(source) as file:
        # Pillow warns of large sizes and slight damage; here an image is either accepted or an error.
        warnings.simplefilter("ignore")
        head = file.read(32)
        check_cost(file, head, name)
        with _open_with_pillow(source, file, head, name, formats or join_with_or(FORMATS)) as image:
            size = f"{image.width}×{image.height} pixels"
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name, size)
            if (needed := decoded_bytes(image)) > MAX_BYTES:
                raise ImageError(
                    f"{name} has {size} of {needed // (image.width * image.height)} bytes; at most "
                    f"{MAX_BYTES // 10**6} MB are decoded. Reduce its size, or save it with 8 bits."
                )
            check_samples(image, name)
            check_strips(image, file_size(file), name)
            yield image


def decoded_bytes(image: Image.Image) -> int:
    """Compute how many bytes the pixels of an open image take, before they are decoded.

    Args:
        image: The image as Pillow opened it.

    Returns:
        The bytes of the largest copy that decoding makes: Pillow's own, or the decoder's of a deep TIFF.
    """
    in_memory = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    # libtiff decodes a whole tile, however few of its pixels are in the image.
    return int(max(image.width * image.height, tile_pixels(image)) * max(in_memory, pixel_bits(image) / 8))


@contextmanager
def _open_file(source: Path | bytes) -> Iterator[ByteFile]:
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


@contextmanager
def _open_with_pillow(
    source: Path | bytes, file: ByteFile, head: bytes, name: str, formats: str
) -> Iterator[Image.Image]:
    """Open an image; of a PNG Pillow reads no other chunks than those that hold pixels."""
    if not head.startswith(SIGNATURE):
        try:
            image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        except UnidentifiedImageError:
            raise ImageError(f"{name} {describe_unsupported(head, formats)}") from None
        with image:
            yield image
        return
    content = split_png(file, name)
    with Image.open(content.pixels, formats=("PNG",)) as image:
        if (value := image.info.get("transparency")) is not None:
            image.info["transparency"] = scale_transparent_value(value, image.mode, content.bit_depth)
        image.info.update(content.info)
        yield image


@contextmanager
def as_image_errors(name: str) -> Iterator[None]:
    """Convert every error that decoders raise to an `ImageError` of one line."""
    try:
        yield
    except InstantStyleError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name} is damaged, or of a kind that is not decoded; save it again.") from None
    except Image.DecompressionBombError:
        raise _too_large(name, "far too many pixels") from None
    except MemoryError:
        raise ImageError(f"{name} needs more memory than there is; reduce its size.") from None
    # Decoders report damage by any error, also by failed assertions: truncated data, bad chunks, absurd fields.
    except Exception as error:
        raise ImageError(f"{name} is damaged or cut short ({one_line(error, 120)}); save it again.") from None


def _too_large(name: str, size: str) -> ImageError:
    return ImageError(f"{name} has {size}; at most {MAX_PIXELS // 10**6} megapixels are decoded. Reduce its size.")


def join_with_or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
