"""The styles that this person keeps: a folder of style files, each known by its name."""

import os
import re
from pathlib import Path

from ..errors import StyleError, suggest_nearest
from ..utils.atomic_write import atomic_write, check_writable

SUFFIX = ".style.safetensors"

FOLDER_VARIABLE = "INSTANTSTYLE_STYLES"
"""Environment variable that puts the library elsewhere."""

_NAME = re.compile(r"\w[\w .+-]{0,99}")


def library_folder() -> Path:
    """Where the library is, whether or not it is there yet: ~/.local/share/instantstyle/styles on Linux."""
    from platformdirs import user_data_path

    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else user_data_path("instantstyle") / "styles"


def list_names() -> list[str]:
    """Of all styles in the library, in order."""
    return sorted(path.name.removesuffix(SUFFIX) for path in library_folder().glob(f"*{SUFFIX}"))


def find_style_file(source: object) -> Path | None:
    """The style file that a person means by a path or a name; None: a picture, or nothing of ours.

    A file that exists is always itself: a name means a style of the library only where there is no such file.
    """
    if not isinstance(source, str | Path):
        return None
    path = Path(source)
    if path.name.endswith(SUFFIX):
        return path
    if path.exists() or path.name != str(source) or not _NAME.fullmatch(path.name):
        return None
    kept = _place(path.name)
    if kept.is_file():
        return kept
    if not path.suffix:
        raise _unknown(path.name, f"no file {path} here, and ")
    return None


def path_of(name: str) -> Path:
    """Where the style of this name lies; `StyleError` with the names that there are."""
    if not _NAME.fullmatch(name) or not _place(name).is_file():
        raise _unknown(name)
    return _place(name)


def add(source: Path, name: str | None = None, *, force: bool = False) -> Path:
    """A copy of the style file in the library, named after the file unless a name is given."""
    name = source.name.removesuffix(SUFFIX) if name is None else name
    if not _NAME.fullmatch(name):
        raise StyleError(
            f"A style cannot be called {name!r}; use letters, digits, spaces and . _ + -, 100 at most."
        )
    library_folder().mkdir(parents=True, exist_ok=True)
    check_writable(_place(name), force=force)
    with atomic_write(_place(name), force=force) as draft:
        draft.write_bytes(source.read_bytes())
    return _place(name)


def remove(name: str) -> Path:
    """The file is gone; returns where it was."""
    path = path_of(name)
    path.unlink()
    return path


def _place(name: str) -> Path:
    return library_folder() / f"{name}{SUFFIX}"


def _unknown(name: str, before: str = "") -> StyleError:
    known = list_names()
    has = f"it has {', '.join(known)}" if known else "it is empty; `instantstyle styles add` fills it"
    return StyleError(
        f"There is {before}no style {name!r} in the library ({library_folder()}); {has}.{suggest_nearest(name, known)}"
    )
