"""MP4 files of generated frames, with the recipe in their metadata; FFmpeg writes and reads them (package av)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ImageError
from ..utils.missing_package import missing_package_error
from ..utils.text import one_line
from .decoding import MAX_PIXELS

CODEC, QUALITY = "libx264", "14"
"""H.264, which every browser decodes, at a rate factor that is hardly distinguishable from the frames."""

COMMENT = "comment"
"""Key of the metadata that holds the recipe as JSON."""


def is_video(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an MP4."""
    return head[4:8] == b"ftyp" and not head[8:12].startswith((b"avif", b"avis", b"heic", b"mif1"))


def is_video_file(path: str | Path) -> bool:
    """Return whether a file is an MP4 by its first bytes; False for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return is_video(file.read(12))
    except OSError:
        return False


def require_av() -> Any:
    """Import av.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return import_module("av")
    except ModuleNotFoundError:
        raise missing_package_error(
            "MP4 files need the package av",
            "instantstyle[video]",
            otherwise=", or take .gif, .webp or .png, which need none",
        ) from None


def write_video(frames: Sequence[Image.Image], target: Path | BytesIO, fps: float, recipe: str | None = None) -> None:
    """Write frames as an MP4.

    Args:
        frames: RGB images of one size, whose sides are even.
        target: The file; in a path its metadata stand first, so that it plays while it is loaded.
        fps: Frames a second.
        recipe: The recipe as JSON; None for none.

    Raises:
        ImageError: FFmpeg cannot encode the frames, such as those of an odd size.
        MissingExtra: av is not installed.
    """
    av = require_av()
    is_path = isinstance(target, Path)
    with _as_image_errors(av, "The video"):
        options = {"movflags": "+faststart"} if is_path else {}
        with av.open(str(target) if is_path else target, "w", format="mp4", options=options) as container:
            if recipe:
                container.metadata[COMMENT] = recipe
            rate = Fraction(fps).limit_denominator(1001)
            stream = container.add_stream(CODEC, rate=rate, options={"crf": QUALITY})
            stream.width, stream.height = frames[0].size
            stream.pix_fmt = "yuv420p"
            # The number of threads can change the result.
            stream.codec_context.thread_count = 1
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
            container.mux(stream.encode())


def read_comment(data: bytes, name: str) -> str | None:
    """Read the text in the metadata of an MP4; None if there is none.

    Args:
        data: The file.
        name: Name of the file in error messages.

    Raises:
        ImageError: The file is damaged.
        MissingExtra: av is not installed.
    """
    with _open(data, name) as container:
        return container.metadata.get(COMMENT)


def read_frames(data: bytes, name: str) -> list[Image.Image]:
    """Decode the frames of an MP4 as RGB.

    Raises:
        ImageError: The file is damaged, or has more than `MAX_PIXELS` pixels in all frames.
        MissingExtra: av is not installed.
    """
    frames: list[Image.Image] = []
    with _open(data, name) as container:
        for frame in container.decode(video=0):
            if (len(frames) + 1) * frame.width * frame.height > MAX_PIXELS:
                raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} megapixels in all frames.")
            frames.append(frame.to_image())
    return frames


@contextmanager
def _open(data: bytes, name: str) -> Iterator[Any]:
    av = require_av()
    # One demuxer, and bytes instead of a name: the file cannot make FFmpeg open another.
    with _as_image_errors(av, name), av.open(BytesIO(data), format="mp4") as container:
        yield container


@contextmanager
def _as_image_errors(av: Any, name: str) -> Iterator[None]:
    try:
        yield
    # PyAV raises FFmpegError; wrong sizes and missing streams are errors of values and places.
    except (av.FFmpegError, ValueError, LookupError) as error:
        raise ImageError(f"{name} cannot be read or written as MP4: {one_line(error, 120)}") from None
