"""Files of animations as GIF, WebP, PNG or MP4: they contain the recipe and are written atomically."""

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Literal

from PIL import Image, ImageSequence

from ..errors import ImageError, JobError
from ..recipe import Recipe
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.text import cut
from .decoding import MAX_PIXELS, as_image_errors, decode_image
from .image_file import make_texts
from .png_metadata import make_png_info
from .video_file import is_video, read_frames, require_av, write_video

AnimationFormat = Literal["GIF", "WEBP", "PNG", "MP4"]

ANIMATION_SUFFIXES: dict[str, AnimationFormat] = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".mp4": "MP4"}
"""Formats of animations. WebP and PNG are lossless, a GIF has 256 colours, and an MP4 is H.264."""

DEFAULT_FPS = 8.0
"""Frames a second, as AnimateDiff's own script saves its animations."""

_PALETTE_SIDE = 256
"""Side in pixels up to which each frame counts for the palette of a GIF."""


def validate_animation_path(path: str | Path, *, force: bool = False) -> Path:
    """Check that an animation can be written, before the time to generate it is spent.

    Args:
        path: The file to write.
        force: Whether the file may exist already.

    Returns:
        The path.

    Raises:
        JobError: The name ends in none of `ANIMATION_SUFFIXES`, or the file exists or cannot be written.
        MissingExtra: The name ends in .mp4, and av is not installed.
    """
    path = Path(path)
    if _find_format(path) == "MP4":
        require_av()
    check_writable(path, force=force)
    return path


def _find_format(path: Path) -> AnimationFormat:
    found = ANIMATION_SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise JobError(
            f"{cut(str(path), 200)} should end in .gif, .webp, .png or .mp4: these are the formats of animations that "
            "store the recipe."
        )
    return found


def save_animation(
    frames: Sequence[Image.Image], path: str | Path, fps: float, recipe: Recipe | None = None, *, force: bool = False
) -> Path:
    """Write an animation with its recipe in the format of the path; the file appears complete or not at all.

    Args:
        frames: Images of one size.
        path: The file to write, which ends in one of `ANIMATION_SUFFIXES`. Its folder is made if necessary.
        fps: Frames a second, 1 to 50.
        recipe: The recipe; None for an animation without one.
        force: Whether an existing file is overwritten.

    Returns:
        The path.

    Raises:
        JobError: As `validate_animation_path`, or the file cannot be written.
        ImageError: The frames cannot be encoded.
        MissingExtra: As `validate_animation_path`.
    """
    path = validate_animation_path(path, force=force)
    animation_format = _find_format(path)
    with atomic_write(path, force=force) as draft:
        if animation_format == "MP4":
            write_video(_as_rgb(frames), draft, fps, recipe.to_json() if recipe else None)
        else:
            with draft.open("xb") as file:
                file.write(_encode(frames, animation_format, fps, recipe))
    return path


def read_animation(data: bytes, name: str) -> tuple[list[Image.Image], AnimationFormat]:
    """Decode the frames of an animation as RGB. Formats of Pillow merge equal frames that follow one another.

    Args:
        data: The file.
        name: Name of the file in error messages.

    Returns:
        The frames and the format.

    Raises:
        ImageError: The file is damaged, of another format, or has more than `MAX_PIXELS` pixels in all frames.
        MissingExtra: The file is an MP4, and av is not installed.
    """
    if is_video(data[:12]):
        return read_frames(data, name), "MP4"
    with decode_image(data, name) as checked:
        animation_format = str(checked.format)
    if animation_format not in ANIMATION_SUFFIXES.values():
        raise ImageError(f"{name} is a {animation_format}, which is no format of animations.")
    # The check of a PNG leaves out all frames but the first.
    with as_image_errors(name), Image.open(BytesIO(data), formats=[animation_format]) as image:
        count = getattr(image, "n_frames", 1)
        if count * image.width * image.height > MAX_PIXELS:
            raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} megapixels in all frames.")
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(image)], animation_format  # pyright: ignore


def recompress_frames(
    frames: Sequence[Image.Image], animation_format: AnimationFormat, fps: float
) -> list[Image.Image]:
    """Change frames as writing them in a format and reading them again does.

    Args:
        frames: The frames.
        animation_format: The format.
        fps: Frames a second.

    Raises:
        ImageError: The frames cannot be encoded.
        MissingExtra: The format is MP4, and av is not installed.
    """
    return read_animation(_encode(frames, animation_format, fps), "The animation")[0]


def _encode(
    frames: Sequence[Image.Image], animation_format: AnimationFormat, fps: float, recipe: Recipe | None = None
) -> bytes:
    """Encode an animation that repeats for ever; an MP4 leaves that to the player."""
    file = BytesIO()
    first, *rest = _as_rgb(frames)
    settings = {"save_all": True, "append_images": rest, "loop": 0, "duration": _durations(len(frames), fps)}
    if animation_format == "MP4":
        write_video([first, *rest], file, fps, recipe.to_json() if recipe else None)
    elif animation_format == "GIF":
        first, *settings["append_images"] = _with_palette([first, *rest])
        settings["duration"] = _durations(len(frames), fps, unit=10)
        comment = {"comment": recipe.to_json().encode()} if recipe else {}
        first.save(file, "GIF", disposal=1, optimize=False, **settings, **comment)
    elif animation_format == "WEBP":
        texts = make_texts(recipe, "WEBP") if recipe else {}
        first.save(file, "WEBP", lossless=True, exact=True, **settings, **texts)
    else:
        first.save(file, "PNG", pnginfo=make_png_info(first, recipe), **settings)
    return file.getvalue()


def _as_rgb(frames: Sequence[Image.Image]) -> list[Image.Image]:
    return [frame.convert("RGB") for frame in frames]


def _with_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Convert frames to one palette of 256 colours, so that they do not flicker, with Floyd–Steinberg dithering."""
    sheet = Image.new("RGB", (_PALETTE_SIDE, _PALETTE_SIDE * len(frames)))
    for place, frame in enumerate(frames):
        sheet.paste(frame.resize((_PALETTE_SIDE, _PALETTE_SIDE), Image.Resampling.NEAREST), (0, place * _PALETTE_SIDE))
    palette = sheet.quantize(256)
    return [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def _durations(count: int, fps: float, unit: int = 1) -> list[int]:
    """Return the milliseconds of each frame in multiples of a unit, so that their sum is right within one unit."""
    ends = [round(1000 / unit * place / fps) * unit for place in range(count + 1)]
    return [later - earlier for earlier, later in pairwise(ends)]
