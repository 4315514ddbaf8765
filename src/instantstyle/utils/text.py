"""Text that users wrote: its rows and its faults, and forms of it for one line or for a file name."""

import re
from collections.abc import Iterable
from reprlib import Repr

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which a terminal would obey, and half surrogates, which no encoding has."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def one_line(value: object, limit: int | None = None) -> str:
    """Join the words of `str(value)` with single spaces, and escape control characters.

    Args:
        value: An exception or any other object. Where its text is empty, it is named by its type, and an empty
            string by `""`.
        limit: The largest number of characters to return; None for no limit.

    Returns:
        The text without line breaks.
    """
    text = _CONTROL.sub(lambda match: repr(match[0])[1:-1], " ".join(str(value).split()))
    return text[:limit] or ('""' if isinstance(value, str) else type(value).__name__)


def cut(text: str, limit: int) -> str:
    """Cut a text to a number of characters, of which the last becomes "…"."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class _ShortRepr(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 80
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 4

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write integers of more than 4300 digits.
        digits = x.bit_length() * 3 // 10
        return repr(x) if digits < 40 else f"an integer of about {digits} digits"

    def repr_bytes(self, x: bytes, level: int) -> str:
        return self.repr_str(x, level) if len(x) <= self.maxstring else f"{len(x)} bytes"  # pyright: ignore


_short_repr = _ShortRepr()


def shorten(value: object, limit: int = 120) -> str:
    """Represent a value in an error message.

    Args:
        value: Any object; it may be large, nested without end or contain itself.
        limit: The largest number of characters to return.

    Returns:
        `repr(value)`, in which long strings, long containers and deep levels are cut.
    """
    return cut(one_line(_short_repr.repr(value)), limit)


def join_first(items: Iterable[object], count: int = 10, separator: str = ", ") -> str:
    """Join the first items of a list for an error message, and say how many more there are.

    Args:
        items: The items; each is cut to 300 characters.
        count: The largest number of items to write.
        separator: Text between them.
    """
    texts = list(items)
    more = [f"and {len(texts) - count} more"] if len(texts) > count else []
    return separator.join([*(cut(one_line(text), 300) for text in texts[:count]), *more])


def split_rows(text: str) -> list[str]:
    r"""Split a text into rows, which end at \n or \r\n and nowhere else.

    `str.splitlines` also splits at U+2028, U+0085, form feeds and others, which prompts may contain.
    """
    return text.replace("\r\n", "\n").split("\n")


def find_text_fault(text: str) -> str | None:
    """Find what makes a text unusable in files, prompts and names.

    Returns:
        "has half a surrogate pair, which is not valid Unicode", or "has a NUL character"; None for a usable text.
    """
    if "\0" in text:
        return "has a NUL character"
    # Most texts are ASCII, for which Python knows the answer without reading them.
    if not text.isascii() and _SURROGATE.search(text):
        return "has half a surrogate pair, which is not valid Unicode"
    return None


def slug(words: str, limit: int = 60, fallback: str = "image") -> str:
    """Turn words into a part of a file name: lower case, every run of other characters a hyphen.

    Args:
        words: The text, for example a prompt. Letters of any script are kept.
        limit: The largest number of characters to return, and half the largest number of bytes in UTF-8. The
            default stays far below the limits of file systems and keeps the words that matter.
        fallback: The result for a text without letters and digits.

    Returns:
        The slug, or `fallback`.
    """
    # More characters than that cannot be left after cutting; a prompt may have many more.
    text = re.sub(r"\W+", "-", words[: 20 * limit].lower()).strip("-")[:limit]
    return text.encode(errors="replace")[: 2 * limit].decode(errors="ignore").strip("-") or fallback


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
