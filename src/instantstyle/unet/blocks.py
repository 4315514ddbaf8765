"""Blocks: what they are called, in which order they run, and how a person chooses among them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import total_ordering
from itertools import groupby
from math import isfinite
from typing import Any

from ..errors import BlockError, did_you_mean

STAGES = ("down_blocks", "mid_block", "up_blocks")
"""The stages of a UNet in the order in which they run; diffusers lists their layers in another."""

LISTED = ("down_blocks", "up_blocks", "mid_block")

_ADDRESS = re.compile(r"(?:(down_blocks|up_blocks)\.(\d+)|(mid_block))\.attentions\.(\d+)(?:\.|$)")


@total_ordering
@dataclass(frozen=True)
class Block:
    """A transformer block of the network: `up_blocks.0.attentions.1`. Blocks compare in execution order."""

    stage: str
    index: int
    attention: int

    @classmethod
    def parse(cls, address: str) -> "Block":
        block = cls.of(address)
        if block is None or str(block) != address:
            raise BlockError(f"{address!r} is no block's address; one looks like up_blocks.0.attentions.1.")
        return block

    @classmethod
    def of(cls, name: str) -> "Block | None":
        """The block that a layer, processor or parameter of this name belongs to; None outside of any."""
        found = _ADDRESS.match(name)
        if found is None:
            return None
        stage, index, mid, attention = found.groups()
        return cls(stage or mid, int(index or 0), int(attention))

    @property
    def group(self) -> str:
        """What its siblings share: `up_blocks.0`, `mid_block`."""
        return self.stage if self.stage == "mid_block" else f"{self.stage}.{self.index}"

    def __str__(self) -> str:
        return f"{self.group}.attentions.{self.attention}"

    def __lt__(self, other: "Block") -> bool:
        return self._place() < other._place()

    @property
    def listing(self) -> tuple[int, int, int]:
        """Sorts as diffusers lists a network's layers, by which adapters number theirs: down, up, mid."""
        return LISTED.index(self.stage), self.index, self.attention

    def _place(self) -> tuple[int, int, int]:
        return STAGES.index(self.stage), self.index, self.attention


@dataclass(frozen=True)
class Layer:
    """One cross-attention inside a block; `number` is its place among `unet.attn_processors` (always odd)."""

    number: int
    name: str
    width: int
    cross_dim: int

    @property
    def block(self) -> Block | None:
        return Block.of(self.name)


Spec = str | Block | Iterable[str | Block] | Mapping[str | Block, float]
"""A role, a name, a pattern, a probe's file (`probe.json`, `probe.json:layout`), several joined by `+`, a
list of them, or a mapping from them to weights."""

Roles = Mapping[str, tuple[Block, ...]]


def select(
    spec: Any, known: Sequence[Block], roles: Roles, network: str = "This network"
) -> dict[Block, float]:
    """The chosen blocks and their weights, in execution order; `spec` is a `Spec`.

    Where two entries name the same block the later one stands; a block of weight 0 is not chosen, so that
    `{"all": 1, "up_blocks.1.*": 0}` means all but those.
    """
    chosen: dict[Block, float] = {}
    for word, weight in _entries(spec):
        chosen |= dict.fromkeys(_resolve(word, known, roles, network), _checked(word, weight))
    return {block: chosen[block] for block in sorted(chosen) if chosen[block] != 0}


def format_blocks(blocks: Iterable[Block]) -> str:
    """Blocks in few words: `mid_block.attentions.0, up_blocks.0.attentions.0–2`."""
    return ", ".join(_run(list(run)) for _, run in groupby(sorted(blocks), lambda block: block.group))


def _entries(spec: Any) -> list[tuple[str, Any]]:
    if isinstance(spec, Mapping):
        return [(part, weight) for word, weight in spec.items() for part in str(word).split("+")]
    words = [spec] if isinstance(spec, str | Block) else list(spec) if isinstance(spec, Iterable) else [spec]
    if not all(isinstance(word, str | Block) for word in words):
        raise BlockError(
            f"blocks cannot be {spec!r}; give a role, a name, a list of them or names with weights."
        )
    if not words:
        raise BlockError('No block is named; for the plain pipeline pass style=None, for every block "all".')
    return [(part, 1.0) for word in words for part in str(word).split("+")]


def _checked(word: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not isfinite(weight):
        raise BlockError(f"The weight of {word} is {weight!r}; it must be a finite number, 1 acting fully.")
    return float(weight)


def _resolve(word: str, known: Sequence[Block], roles: Roles, network: str) -> list[Block]:
    word = word.strip()
    if word == "all":
        return list(known)
    if word in roles:
        return list(roles[word])
    found = [block for block in known if fnmatchcase(str(block), word)]
    if not found:
        raise BlockError(_unknown(word, known, roles, network))
    return found


def _unknown(word: str, known: Sequence[Block], roles: Roles, network: str) -> str:
    if word in ("style", "layout"):
        has = (
            f"; its roles are {', '.join(roles)}" if roles else ": nobody has published which blocks carry it"
        )
        return f"{network} has no role {word!r}{has}. Name blocks yourself: {format_blocks(known)}."
    siblings = [block for block in known if (near := Block.of(word)) and block.group == near.group]
    legal = (
        format_blocks(siblings) if siblings else f"{format_blocks(known)}; roles {', '.join([*roles, 'all'])}"
    )
    nearest = did_you_mean(word, [*roles, "all", *map(str, known)])
    return f"{network} has no block {word}; it has {legal}{_roles_among(siblings, roles)}.{nearest}"


def _roles_among(blocks: Sequence[Block], roles: Roles) -> str:
    """A role that all of them carry tells none of them from the others."""
    named = [
        f"{role}: .{block.attention}"
        for role, carriers in roles.items()
        if not set(blocks) <= set(carriers)
        for block in carriers
        if block in blocks
    ]
    return f" ({', '.join(named)})" if named else ""


def _run(blocks: list[Block]) -> str:
    first, last = blocks[0], blocks[-1]
    if len(blocks) == 1:
        return str(first)
    numbers = [block.attention for block in blocks]
    unbroken = last.attention - first.attention == len(blocks) - 1
    tail = f"{first.attention}–{last.attention}" if unbroken else "/".join(map(str, numbers))
    return f"{first.group}.attentions.{tail}"
