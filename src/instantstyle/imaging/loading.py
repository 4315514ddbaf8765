"""A person's picture, made into plain RGB: whatever its format, rotation, alpha, depth or size.

Nothing is decoded before the header has been found harmless, and nothing is cropped unasked:
`fit` names the three ways a picture can be made square.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError, did_you_mean
from ..recipe import CROPS

MAX_PIXELS = 128_000_000
"""Largest reference that is decoded: 128 megapixels, 384 MB as RGB; no camera in common use makes more."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
"""What is decoded. Short on purpose: each decoder is a door, and these cover what people have."""


def open_reference(source: str | Path | Image.Image) -> Image.Image:
    """The picture as RGB, upright, on white; `ImageError` in one line when it cannot be read."""
    if isinstance(source, Image.Image):
        with _faults_told("The picture"):
            return to_rgb(source)
    with open_image(source) as image:
        return to_rgb(image)


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it, harmless by its header; faults inside the block are `ImageError`s too."""
    path = Path(path)
    _refuse_unreadable(path)
    with decode_image(path, str(path)) as image:
        yield image


@contextmanager
def decode_image(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The same of a file that is there, or of its bytes wherever they lie; faults call it `name`."""
    file = BytesIO(source) if isinstance(source, bytes) else source
    with _faults_told(name), warnings.catch_warnings():
        # Pillow warns of size and of slight damage; here a picture is either good enough or an error.
        warnings.simplefilter("ignore")
        with Image.open(file, formats=FORMATS) as image:
            _refuse_bomb(name, image.size)
            yield image


@contextmanager
def _faults_told(name: str) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError:
        raise _bomb(name, "far") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture we can read; use {_listed(FORMATS)}.") from None
    # Decoders report damage as any of these, by format: truncated data, bad chunks, absurd fields.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError) as fault:
        raise ImageError(f"{name} is damaged or cut short ({_one_line(fault)}); save it anew.") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as upright RGB: first frame, EXIF rotation applied, alpha composited on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def fit(image: Image.Image, size: int, crop: str = "center") -> Image.Image:
    """`size` × `size`, bicubic: `center` cuts the long sides off, `pad` adds white, `squash` distorts."""
    policies = {"center": _centred, "pad": _padded, "squash": _squashed}
    if crop not in policies:
        nearest = did_you_mean(str(crop), list(CROPS))
        raise ImageError(f"There is no crop {crop!r}; use {_listed(CROPS)}.{nearest}")
    return policies[crop](image, size)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the file's bytes: which picture a recipe means, whatever the file is called today."""
    _refuse_unreadable(Path(path))
    return sha256(Path(path).read_bytes()).hexdigest()


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name the picture in it.")
    if not path.exists():
        raise ImageError(f"{path} does not exist; looked in {path.absolute().parent}.")
    if not path.is_file():
        raise ImageError(f"{path} is not a file; a reference is a picture on disk.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); save the picture again.")


def _refuse_bomb(name: str, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _bomb(name, f"{width}×{height} pixels,")


def _bomb(name: str, found: str) -> ImageError:
    limit = f"{MAX_PIXELS // 10**6} megapixels"
    return ImageError(f"{name} has {found} more than the {limit} that are read; make it smaller.")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Deep greys, scaled rather than clipped: Pillow's own `convert` turns every value above 255 white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    shades = values / _white_point(image.mode, values.max()) * 255
    return Image.fromarray(shades.clip(0, 255).round().astype(np.uint8))


def _white_point(mode: str, brightest: float) -> float:
    """Which value is white: a 16-bit mode says it; else it is the least usual one that holds all values."""
    if mode.startswith("I;16"):
        return 65535.0
    usual = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
    return next((white for white in usual if brightest <= white), brightest)


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _centred(image: Image.Image, size: int) -> Image.Image:
    """CLIP's own preprocessing: shortest side to `size`, long side rounded down, crop rounded up-left."""
    image = _shortened(image)
    short = min(image.size)
    whole = (size * image.width // short, size * image.height // short)
    image = image.resize(whole, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _shortened(image: Image.Image) -> Image.Image:
    """The middle of a strip: enlarged whole, one of 1 × 100,000 pixels would fill the memory."""
    longest = 16 * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, left + min(image.width, longest), top + min(image.height, longest)))


def _squashed(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _padded(image: Image.Image, size: int) -> Image.Image:
    width, height = (max(1, round(size * side / max(image.size))) for side in image.size)
    canvas = Image.new("RGB", (size, size), "white")
    whole = image.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(whole, ((size - width) // 2, (size - height) // 2))
    return canvas


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__
