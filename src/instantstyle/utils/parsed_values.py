"""Rules for values that parsers of JSON, YAML and CSV pass on, whatever field they are for."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import cast

from .text import cut, find_text_fault, shorten

MAX_VALUES = 10_000
"""Largest number of values in one set of fields."""

MAX_LEVELS = 8
"""Largest depth of lists and mappings in a set of fields; a recipe has three levels."""

MAX_TEXT = 100_000
"""Largest number of characters of a prompt or a phrase."""

MAX_BITS = 64
"""Largest size of an integer; a seed has 63 bits."""


_PLACE = re.compile(r"\.\d+(?=\.)")
"""Place of a value in a list, within the name of a field of that value."""


def find_faults(fields: object, flags: Collection[str] = ()) -> Iterator[str]:
    """Find values that no field can hold.

    These are texts with half a surrogate pair or a NUL character, bytes, integers of more than `MAX_BITS`, booleans,
    which Python counts as numbers, and containers with more than `MAX_VALUES` values or more than `MAX_LEVELS`
    levels. Files, tokenizers or error messages would fail on them later, in many ways.

    Args:
        fields: Values by name, of any types; they may contain themselves.
        flags: Names of the fields that hold a boolean; one in a list of values is named `list.field`, without place.

    Yields:
        A description of each fault.
    """
    level: list[tuple[str, object]] = [("", fields)]
    count = 0
    for _ in range(MAX_LEVELS + 1):
        children: list[tuple[str, object]] = []
        for name, value in level:
            if fault := _find_fault(value, is_flag=_PLACE.sub("", name) in flags):
                yield f"{cut(name, 80) or 'it'} is {shorten(value)}, which {fault}"
            for key, part in _iterate_parts(value):
                count += 1
                if count > MAX_VALUES:
                    yield f"{cut(name, 80) or 'it'} has too many values; together there may be {MAX_VALUES:,}"
                    return
                if isinstance(key, str) and (fault := find_text_fault(key)):
                    yield f"the name {shorten(key)} {fault}"
                else:
                    key = cut(key, 80) if isinstance(key, str) else shorten(key)
                    children.append((f"{cut(name, 80)}.{key}" if name else key, part))
        level = children
    if level:
        yield f"{cut(level[0][0], 80)} is nested deeper than {MAX_LEVELS} levels"


def validate_file_name(name: str) -> str:
    """Return the name of a file if file systems can have it.

    Raises:
        ValueError: It is too long. The limits are those of Linux; where others are lower, reading the file
            reports them.
    """
    parts = [part.encode(errors="surrogatepass") for part in re.split(r"[/\\]", name)]
    if max(map(len, parts)) > 255 or sum(map(len, parts)) + len(parts) > 4096:
        raise ValueError("is too long for a file: a name has at most 255 bytes, and a path 4095")
    return name


def _find_fault(value: object, *, is_flag: bool) -> str | None:
    if isinstance(value, str):
        return find_text_fault(value)
    if isinstance(value, bytes | bytearray):
        return "is not text"
    # numpy's booleans too, which are no `bool`; numbers and texts have no subclass of these names.
    if type(value).__name__ in ("bool", "bool_"):
        return None if is_flag else "is a boolean, neither a number nor text"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"has more than {MAX_BITS} bits"
    return None


def _iterate_parts(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, Mapping):
        yield from cast("Mapping[object, object]", value).items()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from enumerate(cast("tuple[object, ...]", value))
