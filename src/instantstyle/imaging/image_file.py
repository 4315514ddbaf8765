"""Files of generated images as PNG, JPEG or WebP: they contain the recipe and are written atomically."""

from io import BytesIO
from pathlib import Path
from typing import IO, Literal

from PIL import Image

from ..errors import JobError
from ..recipe import Recipe
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.text import cut
from .a1111 import format_a1111
from .png_metadata import write_png
from .xmp import format_xmp

ImageFormat = Literal["PNG", "JPEG", "WEBP"]

FORMATS_BY_SUFFIX: dict[str, ImageFormat] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Formats of generated images. PNG and WebP are lossless."""

JPEG_QUALITY = 95
"""Quality at which a JPEG is hardly distinguishable from the image; colours keep the full resolution."""

MAX_JPEG_TEXT = 65_000
"""Largest number of bytes of the recipe in a JPEG, whose segments have at most 65,533 bytes."""

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286


def validate_image_path(path: str | Path, recipe: Recipe | None = None, *, force: bool = False) -> Path:
    """Check that an image can be written, before the time to generate it is spent.

    Args:
        path: The file to write.
        recipe: The recipe that it will contain, which generating completes; None for none.
        force: Whether the file may exist already.

    Returns:
        The path.

    Raises:
        JobError: The name ends in none of `FORMATS_BY_SUFFIX`, the recipe is too long for the format, or the file
            exists or cannot be written.
    """
    path = Path(path)
    image_format = find_format(path)
    check_writable(path, force=force)
    if recipe is not None and image_format == "JPEG":
        # Versions, scheduler and settings of the model are filled in later.
        _check_length(format_xmp(recipe.to_json()), path, reserve=2000)
    return path


def find_format(path: Path) -> ImageFormat:
    """Find the format of an image by the suffix of its name.

    Raises:
        JobError: The suffix is none of `FORMATS_BY_SUFFIX`.
    """
    if path.suffix.lower() not in FORMATS_BY_SUFFIX:
        raise JobError(
            f"{cut(str(path), 200)} should end in .png, .jpg or .webp: these are the formats which store the recipe."
        )
    return FORMATS_BY_SUFFIX[path.suffix.lower()]


def save_image(image: Image.Image, path: str | Path, recipe: Recipe | None = None, *, force: bool = False) -> Path:
    """Write an image with its recipe in the format of the path; the file appears complete or not at all.

    Args:
        image: The image.
        path: The file to write, which ends in .png, .jpg, .jpeg or .webp. Its folder is made if necessary.
        recipe: The recipe; None for an image without one.
        force: Whether an existing file is overwritten.

    Returns:
        The path.

    Raises:
        JobError: As `validate_image_path`, or the file cannot be written.
    """
    path = validate_image_path(path, force=force)
    with atomic_write(path, force=force) as draft, draft.open("xb") as file:
        write_image(image, file, find_format(path), recipe, name=path)
    return path


def write_image(
    image: Image.Image,
    file: IO[bytes] | BytesIO,
    image_format: ImageFormat,
    recipe: Recipe | None = None,
    *,
    name: Path = Path("The image"),
) -> None:
    """Write an image with its recipe to a binary file object.

    A PNG holds the recipe as a text, the others as XMP. All hold the text that other tools show: a PNG under the key
    `parameters`, the others as EXIF's user comment, where AUTOMATIC1111's web UI writes and reads it.

    Args:
        image: The image.
        file: File object opened for writing bytes.
        image_format: The format.
        recipe: The recipe, if any.
        name: Name of the image in error messages.

    Raises:
        JobError: The recipe is too long for a JPEG.
    """
    if image_format == "PNG":
        write_png(image, file, recipe)
        return
    texts = make_texts(recipe, image_format, name) if recipe else {}
    if image_format == "JPEG":
        image.convert("RGB").save(file, format="JPEG", quality=JPEG_QUALITY, subsampling=0, **texts)
    else:
        image.save(file, format="WEBP", lossless=True, exact=True, **texts)


def recompress(image: Image.Image, image_format: str | None) -> Image.Image:
    """Change the pixels of an image as writing it in a format does; only a JPEG changes them.

    Args:
        image: The image.
        image_format: Pillow's name of the format.
    """
    if image_format != "JPEG":
        return image
    file = BytesIO()
    write_image(image, file, "JPEG")
    with Image.open(file, formats=["JPEG"]) as written:
        return written.convert("RGB")


def make_texts(recipe: Recipe, image_format: ImageFormat, name: Path = Path("The image")) -> dict[str, bytes]:
    """Make the metadata of a JPEG or WebP; a comment that is too long for a JPEG is left out.

    Args:
        recipe: The recipe.
        image_format: The format.
        name: Name of the image in error messages.

    Returns:
        Arguments of Pillow's `save`.

    Raises:
        JobError: The recipe is too long for a JPEG.
    """
    packet = format_xmp(recipe.to_json())
    exif = Image.Exif()
    exif[_EXIF_IFD] = {_USER_COMMENT: b"UNICODE\0" + format_a1111(recipe).encode("utf-16-be")}
    comment = exif.tobytes()
    if image_format == "JPEG":
        _check_length(packet, name)
        if len(comment) > MAX_JPEG_TEXT:
            return {"xmp": packet}
    return {"xmp": packet, "exif": comment}


def _check_length(packet: bytes, path: Path, reserve: int = 0) -> None:
    if len(packet) + reserve > MAX_JPEG_TEXT:
        raise JobError(
            f"{cut(str(path), 200)} cannot hold the recipe of {len(packet)} bytes: a JPEG holds at most "
            f"{MAX_JPEG_TEXT - reserve}; write a .png or .webp."
        )
