"""Generate an animation again from the recipe that it carries, and compare the two."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..errors import JobError
from ..imaging.animation_file import DEFAULT_FPS, read_animation, recompress_frames
from ..imaging.loading import read_image_bytes
from ..imaging.png_metadata import read_recipe
from ..recipe import FILE_FIELDS, WEIGHT_FIELDS, Recipe
from .callbacks import OnStep
from .generate import animate
from .load import load_for
from .reproduce import Comparison, compare_images, locate_files
from .sources import SourceCache
from .validate import validate_inputs


def reproduce_animation(
    path: Path, folders: Sequence[Path] = (), device: str | None = None, on_step: OnStep | None = None
) -> tuple[list[Image.Image], Recipe, Comparison]:
    """Generate an animation again from the recipe that it carries.

    Args:
        path: A GIF, WebP, PNG or MP4 written by this package. The new frames are compared after the same compression,
            which in an MP4 depends on the release of FFmpeg too.
        folders: As in `reproduce.reproduce`.
        device: A torch device; None for a GPU if there is one.
        on_step: Called after each step.

    Returns:
        The new frames; their complete recipe, which names the files as the original does; and the comparison, whose
        pixels are those of all frames.

    Raises:
        JobError: The file carries no recipe of an animation, or files are missing or have changed. All are listed.
        InstantStyleError: The model cannot be loaded, or the recipe does not fit it.
    """
    before = read_recipe(path)
    if before.motion_adapter is None:
        raise JobError(f"{path} is no animation: its recipe has no motion_adapter.")
    old_frames, animation_format = read_animation(read_image_bytes(path), str(path))
    recipe = locate_files(before, [*folders, path.parent])
    sources = SourceCache()
    validate_inputs(recipe, sources=sources)
    styled = load_for(recipe, device=device, sources=sources)
    styled.pipe.set_progress_bar_config(disable=True)
    frames, after = animate(styled, recipe, on_step=on_step, sources=sources)
    after = after.replace(**{name: getattr(before, name) for name in (*FILE_FIELDS, *WEIGHT_FIELDS, "model")})
    new_frames = recompress_frames(frames, animation_format, before.fps or DEFAULT_FPS)
    return frames, after, compare_images(_stack(old_frames), _stack(new_frames), before, after)


def _stack(frames: Sequence[Image.Image]) -> Image.Image:
    """Put frames below one another."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * len(frames)))
    for place, frame in enumerate(frames):
        sheet.paste(frame, (0, place * height))
    return sheet
