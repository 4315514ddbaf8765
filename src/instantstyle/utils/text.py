"""Text that is safe to show in one line or to use as a file name."""

import re


def one_line(value: object, limit: int | None = None) -> str:
    """Join the words of `str(value)` with single spaces.

    Args:
        value: An exception or any other object. An object whose text is empty is named by its type.
        limit: The largest number of characters to return; None for no limit.

    Returns:
        The text without line breaks.
    """
    return " ".join(str(value).split())[:limit] or type(value).__name__


def slug(words: str, limit: int = 60, fallback: str = "image") -> str:
    """Turn words into a part of a file name: lower case, every run of other characters a hyphen.

    Args:
        words: The text, for example a prompt. Letters of any script are kept.
        limit: The largest number of characters to return. The default stays far below the limits of
            file systems and keeps the words that matter.
        fallback: The result for a text without letters and digits.

    Returns:
        The slug, or `fallback`.
    """
    return re.sub(r"\W+", "-", words.lower()).strip("-")[:limit] or fallback


def safe_file_name(name: str | None, limit: int = 100) -> str:
    """Reduce a name sent by a client to its last path segment, printable and short.

    Args:
        name: The name as it was sent, with either kind of path separator.
        limit: The largest number of characters to return; the end is kept, where the suffix is.

    Returns:
        The name without leading dots, or `"image"` where nothing of it can be shown. Half surrogates
        become question marks.
    """
    last = re.split(r"[/\\]", name or "")[-1].encode(errors="replace").decode()
    return "".join(mark for mark in last if mark.isprintable()).lstrip(".")[-limit:] or "image"
