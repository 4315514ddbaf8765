"""PNG files of generated images, which contain the recipe that made them and are written atomically."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import JobError
from ..recipe import Recipe
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.text import cut
from .a1111 import format_a1111
from .loading import open_image, read_image_bytes
from .png_check import PIXELS_KEY, hash_pixels
from .png_chunks import MAX_TEXT_BYTES, TOO_LONG_KEY
from .video_file import is_video_file, read_comment
from .xmp import parse_xmp

RECIPE_KEY = "instantstyle"
"""PNG text key of the recipe as JSON. The key `parameters` holds the text that other tools show."""

RECIPE_FORMATS = "PNG, JPEG, WebP, GIF or MP4"
"""Formats of the files that carry a recipe, for messages."""

STILL_FORMATS = "PNG, JPEG or WebP"
"""Those of single images."""

_STYLE_SUFFIX = ".style.safetensors"


def validate_output_path(path: str | Path, *, force: bool = False) -> Path:
    """Check that an image can be written, before the time to generate it is spent.

    Args:
        path: The file to write.
        force: Whether it may exist already.

    Returns:
        The path.

    Raises:
        JobError: The name does not end in .png, or the file exists or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise JobError(f"{path} should end in .png: that is the format which stores the recipe.")
    check_writable(path, force=force)
    return path


def save_png(
    image: Image.Image,
    path: str | Path,
    recipe: Recipe | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    force: bool = False,
) -> Path:
    """Write an image with its recipe; the file appears complete or not at all.

    Args:
        image: The image.
        path: The file to write.
        recipe: The recipe; None for images of several recipes, such as a contact sheet.
        texts: Further texts by PNG text key.
        force: Whether an existing file is overwritten.

    Returns:
        The path.

    Raises:
        JobError: As `validate_output_path`, or the file cannot be written.
    """
    path = validate_output_path(path, force=force)
    with atomic_write(path, force=force) as draft, draft.open("xb") as file:
        write_png(image, file, recipe, texts)
    return path


def write_png(
    image: Image.Image,
    file: IO[bytes] | BytesIO,
    recipe: Recipe | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write an image with its recipe to a binary file object.

    With any text, the file also has the hash of its pixels, which `png_check` compares.

    Args:
        image: The image.
        file: File object opened for writing bytes.
        recipe: The recipe, if any.
        texts: Further texts by PNG text key.
    """
    image.save(file, format="PNG", pnginfo=make_png_info(image, recipe, texts))


def make_png_info(image: Image.Image, recipe: Recipe | None = None, texts: Mapping[str, str] | None = None) -> PngInfo:
    """Make the texts of a PNG; of an animation, `image` is the first frame. The arguments are those of `write_png`."""
    recipe_texts = {RECIPE_KEY: recipe.to_json(), "parameters": format_a1111(recipe)} if recipe else {}
    all_texts = {**recipe_texts, **(texts or {})}
    if all_texts:
        all_texts[PIXELS_KEY] = hash_pixels(image)
    info = PngInfo()
    for key, text in all_texts.items():
        # add_text chooses iTXt by itself for text outside Latin-1.
        info.add_text(key, text)
    return info


def refuse_saved_style(path: str | Path) -> None:
    """Raise `JobError` if a file in the place of a generated image is a saved style."""
    if str(path).endswith(_STYLE_SUFFIX):
        raise JobError(
            f"{cut(str(path), 300)} is a saved style, which carries no recipe; describe it with `instantstyle styles "
            "show`."
        )


@contextmanager
def _open_generated(path: str | Path) -> Iterator[Image.Image]:
    """Open an image that may carry a recipe; errors as in `read_recipe`."""
    refuse_saved_style(path)
    with open_image(path, RECIPE_FORMATS) as image:
        yield image


def read_recipe(path: str | Path) -> Recipe:
    """Read the recipe from a file of `save_png`, `image_file.save_image` or `animation_file.save_animation`.

    Args:
        path: The file.

    Raises:
        ImageError: The file is not an image that can be decoded.
        JobError: The image contains no recipe, or not a valid one.
        MissingExtra: The file is an MP4, and av is not installed.
    """
    if is_video_file(path):
        return read_recipe_from_video(read_image_bytes(path), str(path))
    with _open_generated(path) as image:
        return read_recipe_from_image(image, str(path))


def read_recipe_from_image(image: Image.Image, name: str) -> Recipe:
    """Read the recipe from an open PNG, JPEG or WebP.

    Args:
        image: The image as Pillow opened it.
        name: Name of the image in error messages.

    Raises:
        JobError: The image contains no recipe, or not a valid one.
    """
    text = _read_text(image, RECIPE_KEY) or parse_xmp(image.info.get("xmp")) or _read_comment(image)
    if text is None and RECIPE_KEY in image.info.get(TOO_LONG_KEY, ()):
        raise JobError(f"{name}: the text with the recipe is longer than {MAX_TEXT_BYTES // 2**20} MB.")
    return _parse_recipe(text, name)


def read_recipe_from_video(data: bytes, name: str) -> Recipe:
    """Read the recipe from an MP4; the arguments and errors are those of `video_file.read_comment`, and `JobError`."""
    comment = read_comment(data, name)
    return _parse_recipe(comment if comment and comment.startswith("{") else None, name)


def _parse_recipe(text: str | None, name: str) -> Recipe:
    if text is None:
        raise JobError(f"{name} carries no recipe; only images ({RECIPE_FORMATS}) as instantstyle wrote them do.")
    try:
        return Recipe.from_json(text)
    except JobError as error:
        raise JobError(f"{cut(name, 300)} carries no valid recipe. {error}") from None


def read_png_text(path: str | Path, key: str) -> str | None:
    """Read the text that an image contains under a PNG text key; None where there is none, as in an MP4.

    Args:
        path: The file.
        key: The key.

    Raises:
        ImageError: The file is not an image that can be decoded.
    """
    if is_video_file(path):
        return None
    with _open_generated(path) as image:
        return _read_text(image, key)


def _read_comment(image: Image.Image) -> str | None:
    """Return the comment of a GIF if it can be a recipe: other programs write comments too."""
    comment = image.info.get("comment") if image.format == "GIF" else None
    if not isinstance(comment, bytes) or not comment.startswith(b"{") or len(comment) > MAX_TEXT_BYTES:
        return None
    return comment.decode(errors="replace")


def _read_text(image: Image.Image, key: str) -> str | None:
    text = image.info.get(key)
    return text if isinstance(text, str) else None
