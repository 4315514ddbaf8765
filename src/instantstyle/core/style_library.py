"""The user's library of styles: a folder of style files, each known by its name."""

import os
import re
from pathlib import Path

from ..errors import StyleError, suggest_nearest
from ..utils.atomic_write import atomic_write, check_writable

SUFFIX = ".style.safetensors"

FOLDER_VARIABLE = "INSTANTSTYLE_STYLES"
"""Environment variable with another folder for the library."""

_NAME = re.compile(r"\w[\w .+-]{0,99}")


def library_folder() -> Path:
    """Return the library's folder, which may not exist yet: ~/.local/share/instantstyle/styles on Linux."""
    from platformdirs import user_data_path

    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else user_data_path("instantstyle") / "styles"


def list_names() -> list[str]:
    """List the names of all styles in the library, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in library_folder().glob(f"*{SUFFIX}"))


def find_style_file(source: object) -> Path | None:
    """Find the style file that a path or a name stands for.

    An existing file always stands for itself: a name means a style of the library only where no file has it.

    Args:
        source: Any object; only strings and paths can be style files.

    Returns:
        The path, which need not exist if it ends in `SUFFIX`; None for an image or another object.

    Raises:
        StyleError: The source is a plain name, and there is neither a file nor a style of that name.
    """
    if not isinstance(source, str | Path):
        return None
    path = Path(source)
    if path.name.endswith(SUFFIX):
        return path
    if path.exists() or path.name != str(source) or not _NAME.fullmatch(path.name):
        return None
    saved = library_folder() / f"{path.name}{SUFFIX}"
    if saved.is_file():
        return saved
    if not path.suffix:
        raise _unknown_style_error(path.name, f"no file {path} here, and ")
    return None


def path_of(name: str) -> Path:
    """Return the file of a style in the library.

    Raises:
        StyleError: There is no such style; the message lists those that exist.
    """
    path = library_folder() / f"{name}{SUFFIX}"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise _unknown_style_error(name)
    return path


def add(source: Path, name: str | None = None, *, force: bool = False) -> Path:
    """Copy a style file into the library.

    Args:
        source: The style file.
        name: Its name in the library; None is the name of the file.
        force: Whether to replace a style of that name.

    Returns:
        The path in the library.

    Raises:
        JobError: A style of that name exists, and `force` is False.
        StyleError: The name is not valid.
    """
    name = source.name.removesuffix(SUFFIX) if name is None else name
    if not _NAME.fullmatch(name):
        raise StyleError(f"A style cannot be called {name!r}; use letters, digits, spaces and . _ + -, 100 at most.")
    path = library_folder() / f"{name}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    check_writable(path, force=force)
    with atomic_write(path, force=force) as draft:
        draft.write_bytes(source.read_bytes())
    return path


def remove(name: str) -> Path:
    """Delete a style from the library and return the path that it had.

    Raises:
        StyleError: There is no such style.
    """
    path = path_of(name)
    path.unlink()
    return path


def _unknown_style_error(name: str, before: str = "") -> StyleError:
    known = list_names()
    has = f"it has {', '.join(known)}" if known else "it is empty; `instantstyle styles add` fills it"
    return StyleError(
        f"There is {before}no style {name!r} in the library ({library_folder()}); {has}.{suggest_nearest(name, known)}"
    )
