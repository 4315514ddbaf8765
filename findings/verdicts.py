"""Sentences about methods, scales and blocks, each selected by the intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from findings.evidence import Estimate, estimate_difference
from findings.study import Means
from instantstyle.metrics import SCORE_TITLES

BETTER = {"leak": -1, "subject": 1, "palette": 1, "look": 1}
"""The scores that a method is assessed by, with the sign of an improvement."""


def compare_arms(means: Means, arms: Sequence[str], baseline: str) -> dict[str, dict[str, Estimate]]:
    """Compare arms with a baseline in all scores of `BETTER`; the intervals hold together at 95 %.

    Args:
        means: Means of all arms.
        arms: Arms to compare.
        baseline: The arm to compare with.

    Returns:
        Differences by arm and score.
    """
    comparisons = len(arms) * len(BETTER)
    return {
        arm: {score: estimate_difference(means, arm, baseline, score, comparisons) for score in BETTER} for arm in arms
    }


def list_worse_scores(differences: Mapping[str, Estimate]) -> list[str]:
    """List the titles of the scores that are significantly worse than the baseline's."""
    return [SCORE_TITLES[score] for score, found in differences.items() if found.sign == -BETTER[score]]


def summarize_methods(means: Means, plain: str, methods: Sequence[str]) -> str:
    """Describe which methods significantly reduce content leakage, what they cost, and which one wins.

    Args:
        means: Means of all arms.
        plain: The arm without a method.
        methods: The arms with a method, in the same blocks.

    Returns:
        A paragraph of Markdown.
    """
    differences = compare_arms(means, methods, plain)
    effective = [method for method in methods if differences[method]["leak"].sign < 0]
    title = f"**{_capitalize(plain)}**"
    if not effective:
        return (
            f"{title}: none of the {len(methods)} methods significantly reduces content leakage compared "
            f"with {plain} without a method. No method wins."
        )
    names = _join([_method_name(method, plain) for method in effective])
    costs = [
        f"{_method_name(method, plain)} ({', '.join(worse)})"
        for method in effective
        if (worse := list_worse_scores(differences[method]))
    ]
    cost = (
        f"Of these, the following significantly lower other scores: {'; '.join(costs)}"
        if costs
        else "None of these significantly lowers another score"
    )
    free = [method for method in effective if not list_worse_scores(differences[method])]
    winner = find_winner(means, free, methods)
    result = (
        "No method wins: none without a significant cost leaks significantly less than every other."
        if winner is None
        else f"The winner is {_method_name(winner, plain)}: it has no significant cost and leaks "
        "significantly less than every other method."
    )
    return f"{title}: significantly less content leakage than without a method with {names}. {cost}. {result}"


def find_winner(means: Means, free: Sequence[str], methods: Sequence[str]) -> str | None:
    """Find the method that leaks significantly less than every other.

    Args:
        means: Means of all arms.
        free: Effective methods without a significant cost, which can win.
        methods: All methods.

    Returns:
        The winner, or None.
    """
    for method in free:
        others = [other for other in methods if other != method]
        gaps = [estimate_difference(means, method, other, "leak", len(others)) for other in others]
        if all(gap.sign < 0 for gap in gaps):
            return method
    return None


def compare_scales(means: Means, arm: str, scales: Sequence[float], target: str) -> str:
    """Describe at which scales an arm is in no score significantly worse than a target arm.

    This answers whether tuning the scale replaces the selection of blocks.
    """
    differences = compare_arms(means, [_at_scale(arm, scale) for scale in scales], target)
    worse = {f"{scale:g}": list_worse_scores(differences[_at_scale(arm, scale)]) for scale in scales}
    equal = [scale for scale, scores in worse.items() if not scores]
    lost = "; ".join(f"{scale} ({', '.join(scores)})" for scale, scores in worse.items() if scores)
    if not equal:
        return f"At every scale {arm} are significantly worse than {target} in some score: {lost}."
    except_at = f"; significantly worse at {lost}" if lost else ""
    return f"At {_join(equal)}, {arm} are in no score significantly worse than {target}{except_at}."


def recommend_scale(means: Means, arm: str, scales: Sequence[float], plain: str, default: float) -> str:
    """Describe at which scales an arm transfers the most style without a significant cost.

    Args:
        means: Means of all arms at all scales.
        arm: Name of the arm.
        scales: Scales in ascending order.
        plain: The arm without a reference.
        default: The default scale.

    Returns:
        A sentence on these scales, and whether the default is among them.
    """
    free = list_free_scales(means, arm, scales, plain)
    if not free:
        return f"No scale of {arm} is without a significant cost."
    style = ("palette", "look")
    best = max(free, key=lambda scale: sum(sum(means[_at_scale(arm, scale)][score]) for score in style))

    def equals_best(scale: float) -> bool:
        names, comparisons = (_at_scale(arm, scale), _at_scale(arm, best)), len(style) * len(free)
        return all(estimate_difference(means, *names, score, comparisons).sign >= 0 for score in style)

    good = [scale for scale in free if equals_best(scale)]
    listed = _join([f"{scale:g}" for scale in good])
    return (
        f"At {listed} {arm} have no significant cost, and neither palette nor look is significantly below "
        f"that at the best such scale, {best:g}. The default, {default:g}, "
        f"{'is' if default in good else 'is not'} among them."
    )


def list_free_scales(means: Means, arm: str, scales: Sequence[float], plain: str) -> list[float]:
    """List the scales below the first that significantly lowers prompt fidelity or leaks content."""
    comparisons = 2 * len(scales)
    free: list[float] = []
    for scale in scales:
        name = _at_scale(arm, scale)
        if any(
            estimate_difference(means, name, plain, score, comparisons).sign * BETTER[score] < 0
            for score in ("leak", "subject")
        ):
            break
        free.append(scale)
    return free


def describe_free_scales(means: Means, arm: str, scales: Sequence[float], plain: str) -> str:
    """Describe up to which scale an arm neither lowers prompt fidelity nor leaks content significantly."""
    free = list_free_scales(means, arm, scales, plain)
    if not free:
        return f"- {arm}: at {scales[0]:g}, the lowest scale, there is a significant cost."
    if len(free) == len(scales):
        return f"- {arm}: no significant cost at any scale up to {scales[-1]:g}."
    return f"- {arm}: no significant cost up to {free[-1]:g}; a significant cost at {scales[len(free)]:g}."


def describe_roles(results: Mapping[str, Any], roles: Mapping[str, Sequence[str]]) -> str:
    """Describe which blocks the probe proposes, with what confidence, and whether they are those that ship.

    Args:
        results: Results of the study `blocks`.
        roles: The blocks of each role that ship.

    Returns:
        A Markdown list.
    """
    lines = []
    for role, shipped in roles.items():
        proposed = results["proposed"].get(role)
        if proposed is None:
            lines.append(f"- {role}: no block's effect is significantly above zero; {_format_blocks(shipped)} ships.")
            continue
        share = proposed["confidence"]
        confidence = "unknown confidence with one reference" if share is None else f"first in {share:.0%} of resamples"
        is_shipped = set(proposed["blocks"]) == set(shipped)
        comparison = "as shipped" if is_shipped else f"not as shipped: {_format_blocks(shipped)}"
        lines.append(f"- {role}: {_format_blocks(proposed['blocks'])} ({confidence}); {comparison}.")
    return "\n".join(lines)


def _at_scale(arm: str, scale: float) -> str:
    return f"{arm} at {scale:g}"


def _format_blocks(blocks: Sequence[str]) -> str:
    return ", ".join(f"`{block}`" for block in blocks)


def _method_name(arm: str, plain: str) -> str:
    return arm.removeprefix(f"{plain}, ")


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
