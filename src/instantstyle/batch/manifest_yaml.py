"""YAML of untrusted manifests: limited depth, aliases and size, and an error for each row that has one."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from ..utils.text import one_line, shorten
from ..utils.text_file import MAX_NESTING, MAX_VALUES, TOO_DEEP, TOO_MANY, describe_repeated

MAX_REPEATED = 200_000
"""Largest number of values that aliases may repeat, as 10,000 rows with the defaults of 20 fields do."""

_OCTAL = re.compile(r"[-+]?0[0-9_]+")
"""Numbers that YAML 1.1 reads as octal and YAML 1.2 as decimal."""

# Parsed by libyaml where PyYAML has it, which is ten times as fast.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """PyYAML's loader, which follows YAML 1.1, without the readings that YAML 1.2 dropped.

    yes, no, on, off, 1:30 (90 in YAML 1.1) and 0b11 are texts. Booleans are true and false.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and type are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "int", "float")]
        for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
    }


_NUMBER = "tag:yaml.org,2002:"
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9][0-9_]*|0x[0-9a-fA-F_]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(f"{_NUMBER}{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


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
            checked: set[int] = set()
            return [_construct(loader, item, checked) for item in node.value]
        finally:
            loader.dispose()
    # UnicodeError and others: libyaml reads the text as UTF-8, and its errors have marks of any length.
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is not YAML: {one_line(error, 300)}") from None


def _construct(loader: Any, node: yaml.Node, checked: set[int]) -> object:
    try:
        _check_nodes(node, checked)
        return loader.construct_object(node, deep=True)
    # The constructors of dates, numbers and bytes raise what Python raises for impossible ones.
    except (
        *(yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError),
        *(RecursionError, MemoryError),
    ) as error:
        line = node.start_mark.line + 1
        return YamlRowError(f"its value on line {line} is not YAML ({one_line(error, 200)})")


def _check_nodes(node: yaml.Node, checked: set[int]) -> None:
    """Check the names of mappings and the form of integers, before merging and converting hide what was written.

    Args:
        node: The value.
        checked: Ids of the nodes that were checked, to which those of this value are added; aliases share nodes.

    Raises:
        ValueError: A mapping has a name twice, or an integer begins with 0.
    """
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if id(node) in checked:
            continue
        checked.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            is_number = node.tag.endswith((":int", ":float"))
            if is_number and ":" in node.value:
                raise ValueError(f"{shorten(node.value)} is no number in YAML 1.2; write its value")
            if is_number and _OCTAL.fullmatch(node.value):
                raise ValueError(
                    f"{shorten(node.value)} is octal in YAML 1.1 and decimal in YAML 1.2; write it without the 0 in "
                    "front, or in quotes"
                )
        elif isinstance(node, yaml.MappingNode):
            names = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(names)) < len(names):
                raise ValueError(describe_repeated(name for _, name in names))
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


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
