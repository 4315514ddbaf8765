"""Claims of the paper as differences between two arms, with verdicts from their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from findings.evidence import Estimate, estimate_difference
from findings.study import Means
from instantstyle.metrics import SCORE_TITLES

VERDICTS = {1: "holds", 0: "not shown", -1: "**the opposite holds**"}


@dataclass(frozen=True)
class Claim:
    """The claim that an arm scores higher or lower than a baseline.

    Attributes:
        statement: The claim in words.
        arm: Name of the arm.
        baseline: Name of the arm to compare with.
        score: Name of the score.
        sign: 1 if the arm is claimed to score higher, −1 if lower.
        study: Study whose images test the claim.
    """

    statement: str
    arm: str
    baseline: str
    score: str
    sign: int
    study: str = "cures"

    def estimate(self, means: Means, comparisons: int) -> Estimate:
        """Estimate the difference in the means of the claim's study."""
        return estimate_difference(means, self.arm, self.baseline, self.score, comparisons)

    def format_row(self, means: Means, comparisons: int, titles: Mapping[str, str] = SCORE_TITLES) -> str:
        """Format the claim as a table row: claim, title of the score, arms, difference, verdict."""
        difference = self.estimate(means, comparisons)
        arms = f"{self.arm} − {self.baseline}"
        verdict = VERDICTS[difference.sign * self.sign]
        cells = [self.statement, titles[self.score], arms, difference.format("+"), verdict]
        return f"| {' | '.join(cells)} |"


CLAIMS = (
    Claim("A reference injected in all blocks leaks its content", "all blocks", "no reference", "leak", 1),
    Claim("… and lowers prompt fidelity", "all blocks", "no reference", "subject", -1),
    Claim("Injection in the style blocks alone leaks less", "style blocks", "all blocks", "leak", -1),
    Claim("… keeps more prompt fidelity", "style blocks", "all blocks", "subject", 1),
    Claim("… and transfers colours", "style blocks", "no reference", "palette", 1),
    Claim("… and the whole look", "style blocks", "no reference", "look", 1),
    Claim("… but fewer colours than all blocks (ours)", "style blocks", "all blocks", "palette", -1),
    Claim("One reference styles many prompts consistently", "style blocks", "no reference", "consistency", 1),
    Claim("… without repeating one object (ours)", "style blocks", "all blocks", "repetition", -1),
    Claim("The layout blocks add layout", "style and layout blocks", "style blocks", "layout", 1),
    Claim("… and some content leakage", "style and layout blocks", "style blocks", "leak", 1),
    Claim("Subtracting content leaks less", "all blocks, subtract 1", "all blocks", "leak", -1),
    Claim("… also in the style blocks", "style blocks, subtract 1", "style blocks", "leak", -1),
    Claim("… and raises prompt fidelity", "all blocks, subtract 1", "all blocks", "subject", 1),
    Claim("… but keeps less of the look (ours)", "all blocks, subtract 1", "all blocks", "look", -1),
    Claim("A lower scale leaks less", "all blocks at 0.4", "all blocks at 1", "leak", -1, "scales"),
    Claim("… and transfers less", "all blocks at 0.4", "all blocks at 1", "palette", -1, "scales"),
    Claim(
        "A high scale leaks in the style blocks too (ours)",
        "style blocks at 1.4",
        "no reference",
        "leak",
        1,
        "scales",
    ),
)
"""In the paper's order. Those marked as ours are not in the paper but follow from it as questions."""


def format_claims(
    means: Mapping[str, Means], claims: Sequence[Claim] = CLAIMS, titles: Mapping[str, str] = SCORE_TITLES
) -> str:
    """Format the table of claims whose scores were measured; its intervals hold together at 95 %.

    Args:
        means: Means of the arms, by study.
        claims: The claims to test.
        titles: Titles of the scores.

    Returns:
        A Markdown table.
    """
    lines = ["| claim | score | difference of | measured | verdict |", "|---|---|---|---|---|"]
    tested = [claim for claim in claims if claim.score in means[claim.study][claim.arm]]
    return "\n".join([*lines, *(claim.format_row(means[claim.study], len(tested), titles) for claim in tested)])
