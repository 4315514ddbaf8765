"""Results → docs/mini.md and the README's table.

    python -m training.mini.card

Every figure is read from a file that a command wrote.
"""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from findings import study, tables
from instantstyle.synthetic import FILLS, GROUNDS, LAYOUTS, MINI_SCOPE, OUTLINES, Scope
from training.mini.stage import Leg
from training.mini.table import markdown

RESULTS = Path(__file__).parent / "results"
CARD, README = Path("docs/mini.md"), Path("README.md")
WIDTH = 126  # of a line of the card
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def training_rows(trained: dict[str, list[Leg]]) -> str:
    """A row for each leg of each stage."""
    lines = ["| stage | machine | pictures seen | minutes |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {leg['machine']} | {leg['images']:,} | {leg['minutes']:.0f} |"
        for name, run in trained.items()
        for leg in run
    ]
    return "\n".join(lines)


def needed_rows(found: dict[str, Any]) -> str:
    """A row for each part of the network, in the order in which they are passed."""
    lines = [
        "| part | activations | loss without its transformers | without its resnets too |",
        "|---|---|---|---|",
    ]
    for name, size in found["handed on"].items():
        losses = found["without"].get(name, {})
        cells = [f"{losses[kind]:.3f}" if kind in losses else "–" for kind in ("transformers", "both")]
        lines.append(f"| `{name}` | {size:,.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def scope_words(scope: Scope) -> str:
    """What is drawn in this scope: '24 things, each on any of …'."""
    look, layouts = scope.kinds, [place for place, often in enumerate(scope.layouts) if often]
    grounds, fills, outlines, places = (
        f"{len(chosen)} {kind} ({', '.join(names[place] for place in sorted(chosen))})"
        for kind, names, chosen in (
            ("grounds", GROUNDS, {*look.grounds}),
            ("fills", FILLS, {*look.fills}),
            ("outlines", OUTLINES, {*look.outlines}),
            ("layouts", LAYOUTS, {*layouts}),
        )
    )
    return (
        f"{scope.things} things, each on any of {grounds}, in any of {fills} and {outlines}, and in {places}"
    )


def read(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def render() -> str:
    table, needed = read("table"), read("needed")
    probe = study.read(study.RESULTS, ["blocks"])["blocks"]
    template = (Path(__file__).parent / "card.md").read_text()
    return template.format(
        scope=fill(scope_words(MINI_SCOPE), WIDTH),
        known=MINI_SCOPE.things,
        training=training_rows(read("training")),
        judge=", ".join(f"{fact} {share:.0%}" for fact, share in table["judge"].items()),
        arms=markdown(table["arms"]),
        table=table["settings"],
        pairs=table["settings"]["references"] * table["settings"]["asked"],
        probe=probe["settings"],
        probe_things=len(probe["settings"]["asked"]),
        alone=tables.blocks(probe["results"], "alone"),
        off=tables.blocks(probe["results"], "off"),
        needed=needed,
        needed_rows=needed_rows(needed),
    )


def with_table(readme: str) -> str:
    """The README with today's table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown(read('table')['arms'])}\n{END}{after}"


if __name__ == "__main__":
    CARD.write_text(render())
    README.write_text(with_table(README.read_text()))
    print(CARD, README)
