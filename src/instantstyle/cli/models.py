"""`instantstyle models`: which models are known by name, and which of them are here."""

import sys
from typing import TYPE_CHECKING

from .console import gigabytes

if TYPE_CHECKING:
    from ..models import Card

COLUMNS = ("name", "here", "size", "licence", "what it is")


def run() -> None:
    """List the models that are known by name: presence, size and licence."""
    from ..models import CARDS

    rows = [_row(card) for card in CARDS.values()]
    if sys.stdout.isatty():
        _table(rows)
        return
    for row in (COLUMNS, *rows):
        print("\t".join(row))


def _row(card: "Card") -> tuple[str, ...]:
    from ..models.required_files import inventory, missing

    items = inventory(card)
    absent = missing(items)
    here = "yes" if not absent else "no" if len(absent) == len(items) else f"lacks {len(absent)} files"
    return card.name, here, gigabytes(sum(item.size for item in items)), card.licence, card.description


def _table(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
