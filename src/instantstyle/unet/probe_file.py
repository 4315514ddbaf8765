"""What `instantstyle probe` found, as the rest of the house takes it: roles, and names in a selection."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BlockError, JobError
from ..utils.result_journal import read
from .blocks import Block, Roles, format_blocks

_WORD = re.compile(r"(.+\.json)(?::([\w-]+))?")
"""A probe's file, and the role that is meant: `probe.json` (its style), `probe.json:layout`."""


def read_roles(path: str | Path, known: Sequence[Block] | None = None, network: str | None = None) -> Roles:
    """The roles proposed in a `probe.json`; `BlockError` where it is of a network other than the one at hand.

    `known`, `network`: that one's blocks and name; None takes the file's own word.
    """
    path = Path(path)
    held = read(path)
    if not isinstance(held.get("roles"), Mapping):
        raise JobError(
            f"{path} proposes no roles: it is no probe's, or the probe was not finished; "
            "run it, or run it again to go on: instantstyle probe --model …"
        )
    try:
        theirs = [Block.parse(name) for name in held["settings"]["blocks"]]
        name = str(held["settings"]["network"])
        roles = {role: tuple(map(Block.parse, found["blocks"])) for role, found in held["roles"].items()}
    except (KeyError, TypeError, BlockError) as fault:
        raise JobError(f"{path} is not as a probe wrote it ({fault}); probe anew.") from None
    _check_network(path, (name, theirs), (network or name, theirs if known is None else known))
    return roles


def resolve_block_spec(spec: Any, known: Sequence[Block] | None = None, network: str | None = None) -> Any:
    """The same selection with the names of the blocks, where it names a probe's file; `spec` is a `Spec`.

    So what was chosen is still known when the file is gone.
    """
    if isinstance(spec, str):
        return "+".join(_named(word, known, network) for word in spec.split("+"))
    if isinstance(spec, Mapping):
        return {resolve_block_spec(word, known, network): weight for word, weight in spec.items()}
    if isinstance(spec, Iterable):
        return tuple(resolve_block_spec(word, known, network) for word in spec)
    return spec


def _named(word: str, known: Sequence[Block] | None, network: str | None) -> str:
    found = _WORD.fullmatch(word.strip())
    if found is None:
        return word
    path, role = found[1], found[2] or "style"
    roles = read_roles(path, known, network)
    if not roles.get(role):
        has = f"only for {', '.join(roles)}" if roles else "nor for any other role"
        raise BlockError(
            f"{path} proposes no blocks for {role!r}, {has}; "
            "name blocks yourself, or probe with more --styles."
        )
    return "+".join(map(str, roles[role]))


def _check_network(
    path: Path, theirs: tuple[str, Sequence[Block]], here: tuple[str, Sequence[Block]]
) -> None:
    """A name alone would not do, as many networks have none; nor blocks alone: mini has those of SDXL."""
    if theirs[0] != here[0]:
        told = f"it was found on {theirs[0]}, and this one is {here[0]}"
    elif sorted(theirs[1]) != sorted(here[1]):
        told = f"it has {format_blocks(theirs[1])}, and this one {format_blocks(here[1])}"
    else:
        return
    raise BlockError(f"{path} is of another network: {told}. Probe this one: instantstyle probe --model …")
