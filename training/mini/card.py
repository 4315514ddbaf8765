"""Render docs/mini.md from results.

    python -m training.mini.card

Every figure is read from a file that a command wrote.
"""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from findings import study, tables
from instantstyle.metrics.classifier import ATTRIBUTES
from instantstyle.models.registry import CARDS
from instantstyle.synthetic import FILLS, GROUNDS, LAYOUTS, MINI_SCOPE, OUTLINES, Scope, demo_scenes
from training.mini.stage import Leg
from training.mini.table import format_table

RESULTS = Path(__file__).parent / "results"
CARD = Path("docs/mini.md")
WIDTH = 126  # of a line of the card
TITLES = {name: "object" if name == "thing" else name for name in ATTRIBUTES}


def format_training(record: dict[str, list[Leg]]) -> str:
    """Format a row for each leg of each stage."""
    lines = ["| stage | machine | images | minutes |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {leg['machine']} | {leg['images']:,} | {leg['minutes']:.0f} |"
        for name, legs in record.items()
        for leg in legs
    ]
    return "\n".join(lines)


def format_ablations(results: dict[str, Any]) -> str:
    """Format a row for each part of the UNet, in the order of the forward pass."""
    lines = [
        "| part | activations | loss without its transformers | loss without its resnets too |",
        "|---|---|---|---|",
    ]
    for name, size in results["handed on"].items():
        losses = results["without"].get(name, {})
        cells = [f"{losses[kind]:.3f}" if kind in losses else "–" for kind in ("transformers", "both")]
        lines.append(f"| `{name}` | {size:,.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_readings(results: dict[str, dict[str, float]], title: str = "drawn by") -> str:
    """Format a row for each sampler, or for what `title` names: what the classifier reads."""
    lines = [f"| {title} | {' | '.join(TITLES.values())} |", "|---" * (1 + len(TITLES)) + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{shares[each]:.0%}' for each in TITLES)} |" for name, shares in results.items()
    ]
    return "\n".join(lines)


def describe_scope(scope: Scope) -> str:
    """Describe what scenes of a scope show: '24 object classes, each on any of …'."""
    look, layouts = scope.looks, [number for number, often in enumerate(scope.layouts) if often]
    grounds, fills, outlines, layout_names = (
        f"{len(chosen)} {kind} ({', '.join(names[number] for number in sorted(chosen))})"
        for kind, names, chosen in (
            ("grounds", GROUNDS, {*look.grounds}),
            ("fills", FILLS, {*look.fills}),
            ("outlines", OUTLINES, {*look.outlines}),
            ("layouts", LAYOUTS, {*layouts}),
        )
    )
    return (
        f"{scope.things} object classes, each on any of {grounds}, in any of {fills} and {outlines}, "
        f"and in {layout_names}"
    )


def read_results(name: str) -> dict[str, Any]:
    """Read a file of `results/`."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def render_card() -> str:
    """Render the model card from its template and the results."""
    table, ablations, drawn = map(read_results, ("table", "needed", "progress"))
    probe = study.read_results(study.RESULTS, ["blocks"])["blocks"]
    demo = json.loads(demo_scenes.CHOICE.read_text())
    template = (Path(__file__).parent / "card.md").read_text()
    return template.format(
        scope=fill(describe_scope(MINI_SCOPE), WIDTH),
        known=MINI_SCOPE.things,
        demo=demo,
        demo_chosen=len(demo["chosen"]),
        training=format_training(read_results("training")),
        accuracy=", ".join(f"{TITLES[name]} {share:.0%}" for name, share in table["classifier"].items()),
        arms=format_table(table["arms"]),
        table=table["settings"],
        pairs=table["settings"]["references"] * table["settings"]["asked"],
        probe=probe["settings"],
        probe_things=len(probe["settings"]["asked"]),
        alone=tables.format_blocks(probe["results"], "alone"),
        off=tables.format_blocks(probe["results"], "off"),
        ablations=ablations,
        ablation_rows=format_ablations(ablations),
        deep_share=ablations["without"]["deep"]["transformers"] / ablations["whole"] - 1,
        drawn=drawn["settings"],
        readings=format_readings(drawn["stages"]),
        few_steps=format_readings(drawn["steps"]),
        reading=format_readings(drawn["reading"], "blocks that read the look"),
        shares=format_readings(drawn["shares"], "share of stage `adversarial`"),
        steps=CARDS["mini"].defaults["num_inference_steps"],
    )


if __name__ == "__main__":
    CARD.write_text(render_card())
    print(CARD)
