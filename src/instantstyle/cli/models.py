"""`instantstyle models`: the models that are known by name, and which of them are on this machine."""

from . import options
from .console import format_size, print_json, print_table

COLUMNS = ("name", "here", "size", "licence", "what it is")

EXAMPLES = ("instantstyle models", "instantstyle models --json")


def run(json: options.Json = False) -> None:
    """List the models that are known by name: whether their files are here, size and licence."""
    from ..models import CARDS
    from ..models.required_files import list_missing, list_required_files

    files = [(card, list_required_files(card)) for card in CARDS.values()]
    if json:
        print_json(
            [
                {
                    "name": card.name,
                    "here": not list_missing(items),
                    "missing": [item.file for item in list_missing(items)],
                    "num_bytes": sum(item.num_bytes for item in items),
                    "licence": card.licence,
                    "description": card.description,
                    "architecture": card.architecture.name if card.architecture else None,
                    "defaults": dict(card.defaults),
                }
                for card, items in files
            ]
        )
        return
    rows = []
    for card, items in files:
        absent = list_missing(items)
        here = "yes" if not absent else "no" if len(absent) == len(items) else f"lacks {len(absent)} files"
        size = format_size(sum(item.num_bytes for item in items))
        rows.append((card.name, here, size, card.licence, card.description))
    print_table(COLUMNS, rows)
