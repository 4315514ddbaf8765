"""Files written by `instantstyle probe`: the roles that they propose, and their use in block specs."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from ..errors import BlockError, JobError
from ..utils.result_journal import read_journal
from ..utils.text import cut, join_first, one_line, shorten
from .architectures import Architecture
from .blocks import (
    Block,
    BlockLayer,
    BlockOrLayer,
    BlockSpec,
    Roles,
    format_blocks,
    invalid_spec_error,
    parse_block_or_layer,
    validate_weight,
)

_PROBE_NAME = re.compile(r"(.+\.json)(?::([\w-]+))?")
"""A probe file, optionally with a role: `probe.json` (its style role), `probe.json:layout`."""


def read_roles(path: str | Path, architecture: Architecture | None = None) -> Roles:
    """Read the roles that a probe file proposes.

    Args:
        path: The `probe.json` of a finished probe.
        architecture: The network to use the roles with. None accepts a probe of any network.

    Returns:
        Blocks, or layers inside them, by role; possibly none for a role.

    Raises:
        BlockError: The probe ran on a network of another name or with other blocks.
        JobError: The file cannot be read, is not a probe file, or the probe was not finished.
    """
    path = Path(path)
    content = read_journal(path)
    name = cut(str(path), 200)
    if not isinstance(content.get("roles"), Mapping):
        raise JobError(
            f"{name} proposes no roles: it is not a probe file, or the probe was not finished; "
            "run or resume it: instantstyle probe --model …"
        )
    try:
        blocks = [Block.parse(name) for name in content["settings"]["blocks"]]
        network = str(content["settings"]["network"])
        roles = {role: tuple(map(parse_block_or_layer, found["blocks"])) for role, found in content["roles"].items()}
    except (KeyError, TypeError, AttributeError, BlockError) as error:
        reason = one_line(error, 200)
        raise JobError(f"{name} does not have the format of a probe file ({reason}); probe again.") from None
    if architecture is not None:
        _validate_network(path, network, blocks, architecture)
        for parts in roles.values():
            _validate_layers(name, parts, architecture)
    return roles


def apply_probed_roles(architecture: Architecture, path: str | Path) -> Architecture:
    """Replace the roles of an architecture by those that a probe file proposes.

    Raises:
        BlockError: The probe ran on another network.
        JobError: The file cannot be read or is not a finished probe file.
    """
    return architecture.with_roles(read_roles(path, architecture), f"probed: {path}")


def resolve_block_spec(
    spec: object, architecture: Architecture | None = None, folder: Path | None = None
) -> BlockSpec:
    """Replace each probe file in a block spec by the names of the blocks that it proposes.

    The result does not depend on the file any more, so that it can be stored and sent to other machines.

    Args:
        spec: A `BlockSpec`, in which `probe.json` means the style role of the file and `probe.json:layout`
            another one. The names of modes are returned unchanged.
        architecture: The network to select blocks from. None accepts a probe of any network.
        folder: Where relative paths are looked for first, before the working directory; None for nowhere else.

    Returns:
        The same selection without file names.

    Raises:
        BlockError: `spec` is not a `BlockSpec`, a weight is not a finite number, a probe ran on another
            network, or its file proposes no blocks for the role.
        JobError: A file cannot be read or is not a finished probe file.
    """

    def resolve(name: object) -> str | BlockOrLayer:
        if isinstance(name, str):
            return "+".join(_resolve_name(part, architecture, folder) for part in name.split("+"))
        if isinstance(name, BlockOrLayer):
            return name
        raise invalid_spec_error(spec)

    if isinstance(spec, str | BlockOrLayer):
        return resolve(spec)
    if isinstance(spec, Mapping):
        entries = cast("Mapping[object, object]", spec).items()
        return {resolve(name): validate_weight(name, weight) for name, weight in entries}
    if isinstance(spec, Iterable):
        return tuple(resolve(name) for name in cast("Iterable[object]", spec))
    raise invalid_spec_error(spec)


def names_probe_file(spec: object) -> bool:
    """Whether a block spec may name a probe file."""
    return ".json" in str(spec)


def _resolve_name(name: str, architecture: Architecture | None, folder: Path | None) -> str:
    """Return a name of a block spec, or the block names that it stands for if it names a probe file."""
    match = _PROBE_NAME.fullmatch(name.strip())
    if match is None:
        return name
    path, role = match[1], match[2] or "style"
    # os.path: the methods of `Path` raise `OSError` for names that file systems refuse.
    if folder is not None and os.path.isfile(folder / path):
        path = str(folder / path)
    roles = read_roles(path, architecture)
    if not roles.get(role):
        has = f"only for {join_first(roles)}" if roles else "nor for any other role"
        raise BlockError(
            f"{cut(path, 200)} proposes no blocks for {shorten(role)}, {has}; select blocks by name, or probe with "
            "more --styles."
        )
    return "+".join(map(str, roles[role]))


def _validate_network(path: Path, network: str, blocks: Sequence[Block], architecture: Architecture) -> None:
    # Both are compared: many networks share the name "unknown", and mini has the blocks of SDXL.
    if network != architecture.name:
        difference = f"it was made with {one_line(network, 80)}, and this one is {architecture.name}"
    elif sorted(blocks) != sorted(architecture.blocks):
        difference = f"it has {cut(format_blocks(blocks), 300)}, and this one {format_blocks(architecture.blocks)}"
    else:
        return
    raise BlockError(
        f"{cut(str(path), 200)} is a probe of another network: {difference}. Probe this one: "
        "instantstyle probe --model …"
    )


def _validate_layers(name: str, parts: Iterable[BlockOrLayer], architecture: Architecture) -> None:
    for part in parts:
        if isinstance(part, BlockLayer) and part.position >= architecture.layer_counts.get(part.block, 0):
            raise BlockError(
                f"{name} is a probe of another network: it has {part}, which {architecture.title} does not. "
                "Probe this one: instantstyle probe --model …"
            )
