"""Tables of the page and of the model card: a row for each arm or block, an interval for each figure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from findings.evidence import estimate_difference, estimate_mean
from findings.study import Means
from findings.verdicts import BETTER, compare_arms
from instantstyle.metrics import SCORE_TITLES

ARM_SCORES = ("leak", "subject", "palette", "look", "layout", "consistency", "repetition")
BLOCK_SCORES = ("look", "palette", "leak", "subject", "layout")
BLOCK_TITLES = {"alone": "block alone, against no reference", "off": "block removed from all blocks"}


def format_arms(means: Means, names: Sequence[str], scores: Sequence[str] = ARM_SCORES) -> str:
    """Format the means of arms.

    Args:
        means: Means of all arms.
        names: Arms to show.
        scores: Scores to show, if they were measured.

    Returns:
        A Markdown table; each interval holds at 95 % on its own.
    """
    scores = [score for score in scores if score in means[names[0]]]
    rows = [[name, *(estimate_mean(means[name][score]).format() for score in scores)] for name in names]
    return format_table(["arm", *(SCORE_TITLES[score] for score in scores)], rows)


def format_methods(means: Means, plain: str, names: Sequence[str]) -> str:
    """Format the methods against content leakage, compared with the same blocks without one.

    Args:
        means: Means of all arms.
        plain: The arm without a method.
        names: The arms with a method; shown in order of their content leakage.

    Returns:
        A Markdown table; all intervals hold together at 95 %.
    """
    differences = compare_arms(means, names, plain)
    order = sorted(names, key=lambda name: differences[name]["leak"].mean)
    rows = [[name, *(differences[name][score].format("+") for score in BETTER)] for name in order]
    return format_table([f"against {plain}", *(SCORE_TITLES[score] for score in BETTER)], rows)


def format_blocks(results: Mapping[str, Any], way: Literal["alone", "off"]) -> str:
    """Format the effect of each block.

    Args:
        results: Results of the study `blocks`.
        way: `alone`: the block alone minus no reference; `off`: all blocks minus all but this one.

    Returns:
        A Markdown table; each interval holds at 95 % on its own.
    """
    means, plain, every = results["means"], results["plain"], results["all"]
    rows = []
    for block in results["blocks"]:
        arm, baseline = (f"only {block}", plain) if way == "alone" else (every, f"without {block}")
        cells = (estimate_difference(means, arm, baseline, score).format("+") for score in BLOCK_SCORES)
        rows.append([f"`{block}`", *cells])
    return format_table([BLOCK_TITLES[way], *(SCORE_TITLES[score] for score in BLOCK_SCORES)], rows)


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
