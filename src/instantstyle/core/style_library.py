"""The user's library of styles: a folder of style files, each known by its name; and the rule for such names."""

import logging
import os
import unicodedata
from functools import cache
from pathlib import Path

from ..errors import StyleError, suggest_nearest
from ..utils.atomic_write import MAX_NAME_BYTES, atomic_write, check_writable
from ..utils.text import join_first, shorten

SUFFIX = ".style.safetensors"

FOLDER_VARIABLE = "INSTANTSTYLE_STYLES"
"""Environment variable with another folder for the library."""

MAX_NAME_LENGTH = 100
"""Largest number of characters of a style's name."""

_MAX_NAME_BYTES = MAX_NAME_BYTES - len(SUFFIX)
_PUNCTUATION = frozenset("_ .+-")
_JOINERS = frozenset("\u200c\u200d")

_logger = logging.getLogger(__name__)


def normalize_style_name(name: str) -> str:
    """Check and normalize the name of a style; one rule for library, service, studio and command line.

    A name has letters, marks and digits of any script, spaces and . _ + -, and starts with a letter, a digit
    or _. It is normalized to NFC, without spaces around it and without `SUFFIX`.

    Args:
        name: The name as a user wrote it.

    Returns:
        The normalized name: 1 to 100 characters, and with `SUFFIX` a file name that every file system accepts.

    Raises:
        StyleError: The name is not valid.
    """
    # A long text is not worth normalizing; NFC merges at most a few characters into one.
    normalized = unicodedata.normalize("NFC", name[: 8 * MAX_NAME_LENGTH]).strip(" ").removesuffix(SUFFIX)
    if not _is_valid_name(normalized):
        raise StyleError(
            f"A style cannot be called {shorten(name)}; use letters and digits of any script, spaces and . _ + -, "
            f"at most {MAX_NAME_LENGTH} characters and {_MAX_NAME_BYTES} bytes, and begin with a letter, a digit or _."
        )
    return normalized


def make_style_name(text: str) -> str:
    """Turn any text, such as a file name, into a valid name of a style.

    Args:
        text: The text.

    Returns:
        The text with a hyphen for each character that names cannot have, cut to the allowed length.
    """
    text = unicodedata.normalize("NFC", text[: 8 * MAX_NAME_LENGTH]).removesuffix(SUFFIX)
    kept = "".join(mark if _is_allowed(text, index) else "-" for index, mark in enumerate(text))
    kept = kept.lstrip(" .+-")
    if kept and unicodedata.category(kept[0])[0] == "M":
        kept = f"_{kept}"
    while len(kept) > MAX_NAME_LENGTH or len(kept.encode()) > _MAX_NAME_BYTES:
        kept = kept[:-1]
    return kept.rstrip(" -\u200c\u200d") or "style"


def library_folder() -> Path:
    """Return the library's folder, which may not exist yet: ~/.local/share/instantstyle/styles on Linux."""
    from platformdirs import user_data_path

    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else user_data_path("instantstyle") / "styles"


def list_names() -> list[str]:
    """List the names of all styles in the library, sorted. Files whose names are not valid are left out."""
    return sorted(_list_files())


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
    # os.path: the methods of `Path` raise `OSError` for names that file systems refuse.
    if os.path.exists(path) or path.name != str(source):
        return None
    if (saved := find_library_file(path.name)) is not None:
        return saved
    if not path.suffix and _is_valid_name(path.name):
        raise _unknown_style_error(path.name, f"no file {path} here, and ")
    return None


def path_of(name: str) -> Path:
    """Return the file of a style in the library.

    Raises:
        StyleError: There is no such style; the message lists those that exist.
    """
    path = find_library_file(name)
    if path is None:
        raise _unknown_style_error(name)
    return path


def find_library_file(name: str) -> Path | None:
    """Return the file of a style in the library; None if there is none, or the name is not valid."""
    try:
        return _find_file(normalize_style_name(name))
    except StyleError:
        return None


def add(source: Path, name: str | None = None, *, force: bool = False) -> Path:
    """Copy a style file into the library.

    Args:
        source: The style file.
        name: Its name in the library; None is the name of the file.
        force: Whether to replace a style of that name.

    Returns:
        The path in the library.

    Raises:
        JobError: A style of that name exists, and `force` is False; or the library cannot be written to.
        StyleError: The name is not valid, or the file cannot be read.
    """
    name = normalize_style_name(source.name if name is None else name)
    # A style of the same name in another normalization is the same style.
    path = _find_file(name) or library_folder() / f"{name}{SUFFIX}"
    try:
        data = source.read_bytes()
    except OSError as error:
        raise StyleError(f"{source} cannot be read ({error.strerror or error}).") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StyleError(
            f"The library's folder {path.parent} cannot be created ({error.strerror or error}); "
            f"name another one with {FOLDER_VARIABLE}."
        ) from None
    check_writable(path, force=force)
    with atomic_write(path, force=force) as draft:
        draft.write_bytes(data)
    return path


def remove(name: str) -> Path:
    """Delete a style from the library and return the path that it had. The file is not read.

    Raises:
        StyleError: There is no such style, or it cannot be deleted.
    """
    path = path_of(name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise _unknown_style_error(name) from None
    except OSError as error:
        raise StyleError(f"{path} cannot be deleted ({error.strerror or error}).") from None
    return path


def _find_file(name: str) -> Path | None:
    """Find the file of a normalized name, which a file system may hold in another normalization."""
    path = library_folder() / f"{name}{SUFFIX}"
    return path if os.path.isfile(path) else _list_files().get(name)


def _list_files() -> dict[str, Path]:
    """Map names to files; of two files with one name, the one whose name is normalized counts."""
    files: dict[str, Path] = {}
    for path in sorted(library_folder().glob(f"*{SUFFIX}")):
        name = unicodedata.normalize("NFC", path.name).removesuffix(SUFFIX)
        if not _is_valid_name(name) or not os.path.isfile(path):
            _warn_once(path)
        elif name not in files or path.name == f"{name}{SUFFIX}":
            files[name] = path
    return files


@cache
def _warn_once(path: Path) -> None:
    _logger.warning("%s is left out of the library: it is no file with a valid name.", shorten(str(path), 300))


def _is_valid_name(name: str) -> bool:
    if not name or len(name) > MAX_NAME_LENGTH or name != name.strip(" ") or name.endswith(SUFFIX):
        return False
    starts_well = unicodedata.category(name[0])[0] in "LN" or name[0] == "_"
    if not starts_well or not all(_is_allowed(name, index) for index in range(len(name))):
        return False
    return len(name.encode()) <= _MAX_NAME_BYTES


def _is_allowed(name: str, index: int) -> bool:
    mark = name[index]
    if mark in _JOINERS:
        # Invisible, so only where spelling needs them: after a virama, or between letters of Arabic script.
        before, after = name[max(index - 1, 0)], name[min(index + 1, len(name) - 1)]
        is_arabic = unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
        return unicodedata.combining(before) == 9 or is_arabic
    return mark in _PUNCTUATION or unicodedata.category(mark)[0] in "LMN"


def _unknown_style_error(name: str, before: str = "") -> StyleError:
    known = list_names()
    has = f"it has {join_first(known)}" if known else "it is empty; `instantstyle styles add` fills it"
    return StyleError(
        f"There is {before}no style {shorten(name)} in the library ({library_folder()}); {has}."
        f"{suggest_nearest(name[:MAX_NAME_LENGTH], known)}"
    )
