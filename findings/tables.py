"""Tables of the page and of the model card: an arm or a block a row, each figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from findings.claims import WORDS
from findings.evidence import difference, estimate
from findings.study import Means
from findings.verdicts import GOOD, compared

WAYS = {"alone": "on alone, against no reference", "off": "left out of all"}


def arms(means: Means, names: Sequence[str], scores: Sequence[str] = (*WORDS,)) -> str:
    """Means with 95 % intervals over references, each for itself; of the scores that were measured."""
    scores = [score for score in scores if score in means[names[0]]]
    rows = [[name, *(estimate(means[name][score]).told() for score in scores)] for name in names]
    return table(["arm", *(WORDS[score] for score in scores)], rows)


def cures(means: Means, plain: str, names: Sequence[str], costs: Mapping[str, Mapping[str, float]]) -> str:
    """Each cure against the same blocks without one: the least leak first; and its time."""
    found = compared(means, names, plain)
    order = sorted(names, key=lambda name: found[name]["leak"].mean)
    rows = [
        [
            name,
            *(found[name][score].told("+") for score in GOOD),
            f"{costs[name]['to_plain']:.2f}× ({costs[name]['seconds']:.2f} s)",
        ]
        for name in order
    ]
    return table([f"against {plain}", *(WORDS[score] for score in GOOD), "time a picture"], rows)


def blocks(results: Mapping[str, Any], way: str) -> str:
    """What each block brings on alone (`alone`), or what is lost when it alone is left out (`off`)."""
    means, plain, every = results["means"], results["plain"], results["all"]
    shown = ("look", "palette", "leak", "subject", "layout")
    rows = []
    for block in results["blocks"]:
        one, other = (f"only {block}", plain) if way == "alone" else (every, f"without {block}")
        rows.append([f"`{block}`", *(difference(means, one, other, score).told("+") for score in shown)])
    return table([f"block {WAYS[way]}", *(WORDS[score] for score in shown)], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
