"""YAML of untrusted manifests: limited depth, aliases and size, and an error for each row that has one."""

from collections.abc import Iterable
from typing import Any

import yaml

from ..utils.text import one_line
from ..utils.text_file import MAX_NESTING, MAX_VALUES, TOO_DEEP, TOO_MANY

MAX_REPEATED = 200_000
"""Largest number of values that aliases may repeat, as 10,000 rows with the defaults of 20 fields do."""

# Parsed by libyaml where PyYAML has it, which is ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlRowError(ValueError):
    """Why one item of a list has no value."""


def parse_yaml_list(text: str) -> list[object]:
    """Parse a list.

    Args:
        text: A YAML document.

    Returns:
        The items; in place of those whose values are not valid, such as the date 2020-13-45, a `YamlRowError`.

    Raises:
        ValueError: The text is not YAML or not a list, or it has more than `MAX_NESTING` levels, `MAX_VALUES`
            values, or `MAX_REPEATED` values by aliases. The message follows the name of the file.
    """
    try:
        _check_events(yaml.parse(text, _Loader))
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.SequenceNode):
                raise ValueError("should be a list, each row beginning with a dash")
            return [_construct(loader, item) for item in node.value]
        finally:
            loader.dispose()
    # UnicodeError and others: libyaml reads the text as UTF-8, and its errors have marks of any length.
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is not YAML: {one_line(error, 300)}") from None


def _construct(loader: Any, node: yaml.Node) -> object:
    try:
        return loader.construct_object(node, deep=True)
    # The constructors of dates, numbers and bytes raise what Python raises for impossible ones.
    except (
        *(yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError),
        *(RecursionError, MemoryError),
    ) as error:
        line = node.start_mark.line + 1
        return YamlRowError(f"its value on line {line} is not YAML ({one_line(error, 200)})")


def _check_events(events: Iterable[yaml.Event]) -> None:
    """Check depth and size of a document before its values are made.

    An alias costs as many values as it stands for, because merging and validating visit them again.
    """
    sizes: dict[str, int] = {}
    # Name and first value of the containers that are open.
    open_containers: list[tuple[str | None, int]] = []
    count = repeated = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor)
            if size is None:
                raise ValueError(f"has an alias on line {line} that stands for no complete value")
            repeated += size
            if repeated > MAX_REPEATED:
                raise ValueError(f"repeats more than {MAX_REPEATED:,} values by aliases (line {line}); write them out")
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            count += 1
            if count > MAX_VALUES:
                raise ValueError(f"is too large on line {line}: {TOO_MANY}")
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor is not None:
                    sizes[event.anchor] = 1
                continue
            # An anchor counts only once its value is complete; an earlier one of the same name ends here.
            if event.anchor is not None:
                sizes.pop(event.anchor, None)
            open_containers.append((event.anchor, count + repeated))
            if len(open_containers) > MAX_NESTING:
                raise ValueError(f"is too complicated on line {line}: {TOO_DEEP}")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, start = open_containers.pop()
            if anchor is not None:
                sizes[anchor] = count + repeated - start + 1
