"""The block map that `instantstyle probe` found, as the rest of the house takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .architectures import Architecture
from .blocks import Block, Roles, listed
from .errors import BlockError, JobError
from .journal import read


def roles_of(path: str | Path, known: Sequence[Block] | None = None) -> Roles:
    """The roles proposed in a `probe.json`; `BlockError` where it is of a network without these blocks.

    `known`: the blocks of the network at hand; None takes the file's own word.
    """
    path = Path(path)
    held = read(path)
    proposed = held.get("roles")
    if not isinstance(proposed, Mapping):
        raise JobError(f"{path} proposes no roles: the probe was not finished; run it again to go on.")
    if known is not None:
        _check_network(path, held, known)
    return {role: tuple(map(Block.parse, found["blocks"])) for role, found in proposed.items()}


def as_probed(architecture: Architecture, path: str | Path) -> Architecture:
    """The same network with the roles that the probe proposes instead of its table's own."""
    roles = roles_of(path, architecture.blocks)
    return replace(architecture, roles=roles, sources=dict.fromkeys(roles, f"probed: {path}"))


def _check_network(path: Path, held: Mapping[str, Any], known: Sequence[Block]) -> None:
    theirs = sorted(map(Block.parse, held["settings"]["blocks"]))
    if theirs != sorted(known):
        raise BlockError(
            f"{path} is of another network: it has {listed(theirs)}, and this one {listed(known)}. "
            "Probe this one: instantstyle probe --model …"
        )
