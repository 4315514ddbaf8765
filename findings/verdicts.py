"""Sentences on cures, scales and blocks, each chosen by the intervals; none is written beforehand."""

from collections.abc import Mapping, Sequence
from typing import Any

from findings.claims import WORDS
from findings.evidence import Estimate, difference
from findings.study import Means

GOOD = {"leak": -1, "subject": 1, "palette": 1, "look": 1}
"""The scores that a cure is judged by, and which way is better."""


def compared(means: Means, arms: Sequence[str], plain: str) -> dict[str, dict[str, Estimate]]:
    """Each arm against one, by score; all these intervals hold together."""
    comparisons = len(arms) * len(GOOD)
    return {arm: {score: difference(means, arm, plain, score, comparisons) for score in GOOD} for arm in arms}


def worse(against: Mapping[str, Estimate]) -> list[str]:
    """The scores that are surely worse, in words."""
    return [WORDS[score] for score, found in against.items() if found.sign == -GOOD[score]]


def cured(means: Means, plain: str, cures: Sequence[str]) -> str:
    """Which cures surely lower the leak in these blocks, what they surely cost, and which wins."""
    found = compared(means, cures, plain)
    helping = [cure for cure in cures if found[cure]["leak"].sign < 0]
    if not helping:
        return (
            f"**{_first_up(plain)}**: none of the {len(cures)} cures surely shows less of the reference's "
            f"thing than {plain} without one. No winner."
        )
    free = [cure for cure in helping if not worse(found[cure])]
    costs = [f"{_short(cure, plain)} ({', '.join(lost)})" for cure in helping if (lost := worse(found[cure]))]
    parts = [
        f"**{_first_up(plain)}**: surely less of the reference's thing than without a cure with "
        f"{_listed([_short(cure, plain) for cure in helping])}",
        f"of these, surely at a price: {'; '.join(costs)}" if costs else "none of these surely has a price",
        _won(winner(means, free, cures), plain),
    ]
    return ". ".join(_first_up(part) for part in parts)


def winner(means: Means, free: Sequence[str], cures: Sequence[str]) -> str | None:
    """The one of `free` (effective, at no sure price) that surely leaks less than every other cure."""
    for cure in free:
        others = [other for other in cures if other != cure]
        gaps = [difference(means, cure, other, "leak", len(others)) for other in others]
        if all(gap.sign < 0 for gap in gaps):
            return cure
    return None


def _won(cure: str | None, plain: str) -> str:
    if cure is None:
        return "no winner: no cure without a sure price surely leaks less than every other."
    return f"the winner is {_short(cure, plain)}: no sure price, and surely less leak than every other cure."


def matched(means: Means, swept: str, scales: Sequence[float], target: str) -> str:
    """Whether some scale of one arm is nowhere surely worse than another arm: weight tuning, or not."""
    found = compared(means, [_at(swept, scale) for scale in scales], target)
    lacks = {f"{scale:g}": worse(found[_at(swept, scale)]) for scale in scales}
    even = [scale for scale, lost in lacks.items() if not lost]
    lost = [f"{scale} ({', '.join(scores)})" for scale, scores in lacks.items() if scores]
    if not even:
        return f"At every scale {swept} are surely worse than {target} in some score: {'; '.join(lost)}."
    but = f"; surely worse at {'; '.join(lost)}" if lost else ""
    return f"At {_listed(even)}, {swept} are in no score surely worse than {target}{but}."


def begin(means: Means, arm: str, scales: Sequence[float], plain: str, default: float) -> str:
    """At which scales an arm gives as much as it can at no sure price, and whether the default is one."""
    good = free(means, arm, scales, plain)
    if not good:
        return f"No scale of {arm} is without a sure price."
    given = ("palette", "look")
    best = max(good, key=lambda scale: sum(sum(means[_at(arm, scale)][score]) for score in given))
    enough = [
        scale
        for scale in good
        if all(
            difference(means, _at(arm, scale), _at(arm, best), score, len(given) * len(good)).sign >= 0
            for score in given
        )
    ]
    where = "is among them" if default in enough else "is not among them"
    return (
        f"At {_listed([f'{scale:g}' for scale in enough])} {arm} have no sure price, and neither palette nor "
        f"look is surely below that at the best such scale, {best:g}. The default, {default:g}, {where}."
    )


def free(means: Means, arm: str, scales: Sequence[float], plain: str) -> list[float]:
    """The scales up to the first that surely loses the asked thing or shows the reference's."""
    comparisons = 2 * len(scales)
    good: list[float] = []
    for scale in scales:
        found = [
            difference(means, _at(arm, scale), plain, score, comparisons).sign * GOOD[score]
            for score in ("leak", "subject")
        ]
        if min(found) < 0:
            break
        good.append(scale)
    return good


def safe(means: Means, arm: str, scales: Sequence[float], plain: str) -> str:
    """Up to which scale an arm surely costs neither the asked thing nor shows the reference's."""
    good = free(means, arm, scales, plain)
    if not good:
        return f"- {arm}: already at {scales[0]:g} one of both is sure."
    if len(good) == len(scales):
        return f"- {arm}: at no scale up to {scales[-1]:g} is either sure."
    return f"- {arm}: up to {good[-1]:g} neither is sure; at {scales[len(good)]:g} one is."


def roles(results: Mapping[str, Any]) -> str:
    """What the probe proposes, how surely, and whether that is what ships."""
    lines = []
    for role, shipped in results["shipped"].items():
        proposed = results["proposed"].get(role)
        if proposed is None:
            lines.append(f"- {role}: no block's effect is surely above zero; {_named(shipped)} ships.")
            continue
        sure = proposed["confidence"]
        told = "of one reference nothing is sure" if sure is None else f"first in {sure:.0%} of resamples"
        same = set(proposed["blocks"]) == set(shipped)
        ships = "what ships" if same else f"not what ships: {_named(shipped)}"
        lines.append(f"- {role}: {_named(proposed['blocks'])} ({told}); {ships}.")
    return "\n".join(lines)


def _at(arm: str, scale: float) -> str:
    return f"{arm} at {scale:g}"


def _named(blocks: Sequence[str]) -> str:
    return ", ".join(f"`{block}`" for block in blocks)


def _short(cure: str, plain: str) -> str:
    return cure.removeprefix(f"{plain}, ")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
