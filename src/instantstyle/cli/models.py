"""`instantstyle models`: the models that are known by name, and which of them are on this machine."""

from .console import format_size, print_table

COLUMNS = ("name", "here", "size", "licence", "what it is")


def run() -> None:
    """List the models that are known by name: whether their files are here, size and licence."""
    from ..models import CARDS
    from ..models.required_files import list_missing, list_required_files

    rows = []
    for card in CARDS.values():
        items = list_required_files(card)
        absent = list_missing(items)
        here = "yes" if not absent else "no" if len(absent) == len(items) else f"lacks {len(absent)} files"
        size = format_size(sum(item.num_bytes for item in items))
        rows.append((card.name, here, size, card.licence, card.description))
    print_table(COLUMNS, rows)
