"""What the paper leads one to expect, as differences between two arms; intervals give the verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from findings.evidence import Estimate, difference
from findings.study import Means

WORDS = {
    "leak": "reference's thing seen",
    "subject": "asked thing seen",
    "palette": "palette",
    "look": "look",
    "layout": "layout",
    "consistency": "alike",
    "repetition": "same thing again",
}
"""The judge's scores as tables name them."""

VERDICTS = {1: "holds", 0: "not shown", -1: "**the opposite holds**"}


@dataclass(frozen=True)
class Claim:
    """`one` scores surely higher (`sign` 1) or lower (−1) than `other`."""

    says: str
    one: str
    other: str
    score: str
    sign: int
    study: str = "cures"
    """Whose pictures are to show it."""

    def measured(self, means: Means, comparisons: int) -> Estimate:
        return difference(means, self.one, self.other, self.score, comparisons)

    def told(self, means: Means, comparisons: int) -> str:
        """A row: claim, score, arms, difference, verdict."""
        found = self.measured(means, comparisons)
        arms = f"{self.one} − {self.other}"
        cells = [self.says, WORDS[self.score], arms, found.told("+"), VERDICTS[found.sign * self.sign]]
        return f"| {' | '.join(cells)} |"


CLAIMS = (
    Claim("Injected everywhere, the subject comes along", "all blocks", "no reference", "leak", 1),
    Claim("… and the words are obeyed less", "all blocks", "no reference", "subject", -1),
    Claim("The style blocks alone leak less", "style blocks", "all blocks", "leak", -1),
    Claim("… obey the words better", "style blocks", "all blocks", "subject", 1),
    Claim("… and hand over colours", "style blocks", "no reference", "palette", 1),
    Claim("… and the whole look", "style blocks", "no reference", "look", 1),
    Claim("… though fewer colours than all blocks (ours)", "style blocks", "all blocks", "palette", -1),
    Claim("One reference gives many prompts one look", "style blocks", "no reference", "consistency", 1),
    Claim("… and not one thing again and again (ours)", "style blocks", "all blocks", "repetition", -1),
    Claim("The layout blocks add layout", "style and layout blocks", "style blocks", "layout", 1),
    Claim("… and bring some of the subject back", "style and layout blocks", "style blocks", "leak", 1),
    Claim("Subtracting the words lowers the leak", "all blocks, subtract 1", "all blocks", "leak", -1),
    Claim("… also in the style blocks", "style blocks, subtract 1", "style blocks", "leak", -1),
    Claim("… and has the words obeyed better", "all blocks, subtract 1", "all blocks", "subject", 1),
    Claim("… and keeps the look less (ours)", "all blocks, subtract 1", "all blocks", "look", -1),
    Claim("A lower scale leaks less", "all blocks at 0.4", "all blocks at 1", "leak", -1, "scales"),
    Claim("… and hands over less", "all blocks at 0.4", "all blocks at 1", "palette", -1, "scales"),
    Claim("A high one leaks, even there (ours)", "style blocks at 1.4", "no reference", "leak", 1, "scales"),
)
"""In the paper's order; ours are what it does not say and one would ask."""


def claims(means: Mapping[str, Means], told: Sequence[Claim] = CLAIMS) -> str:
    """The table, of what was measured; its intervals hold together."""
    lines = ["| claim | score | difference of | measured | verdict |", "|---|---|---|---|---|"]
    asked = [claim for claim in told if claim.score in means[claim.study][claim.one]]
    return "\n".join([*lines, *(claim.told(means[claim.study], len(asked)) for claim in asked)])
