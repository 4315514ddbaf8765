"""Each sentence follows from the figures: other figures give another sentence."""

from findings.claims import Claim, format_claims
from findings.verdicts import (
    compare_scales,
    describe_free_scales,
    describe_roles,
    recommend_scale,
    summarize_methods,
)

METHODS = ["all blocks, mask", "all blocks, clean"]
REFERENCES = 12
EQUAL = {"leak": 0.5, "subject": 0.5, "palette": 0.5, "look": 0.5}


def constant_arm(**scores: float) -> dict[str, list[float]]:
    """Means that are the same for every reference, so that every difference is significant."""
    return {name: [value] * REFERENCES for name, value in {**EQUAL, **scores}.items()}


def summarize(mask: dict[str, list[float]], clean: dict[str, list[float]]) -> str:
    means = {"all blocks": constant_arm(), METHODS[0]: mask, METHODS[1]: clean}
    return summarize_methods(means, "all blocks", METHODS)


def test_the_method_with_the_least_leakage_and_no_cost_wins():
    text = summarize(mask=constant_arm(leak=0.1), clean=constant_arm(leak=0.2))
    assert "with mask and clean. None of these significantly lowers another score." in text
    assert "The winner is mask" in text


def test_two_equal_methods_leave_no_winner():
    text = summarize(mask=constant_arm(leak=0.1), clean=constant_arm(leak=0.1))
    assert "No method wins: none without" in text


def test_a_method_that_costs_the_look_does_not_win_and_its_cost_is_named():
    text = summarize(mask=constant_arm(leak=0.1, palette=0.2, subject=0.1), clean=constant_arm(leak=0.2))
    assert "significantly lower other scores: mask (prompt fidelity, palette)" in text
    assert "No method wins" in text


def test_without_an_effective_method_the_summary_says_so():
    insignificant = constant_arm() | {"leak": [0.5, 0.9, 0.0] * 4}
    text = summarize(mask=constant_arm(), clean=insignificant)
    assert "none of the 2 methods significantly reduces content leakage" in text


def test_a_scale_that_is_nowhere_worse_is_named():
    means = {
        "all blocks at 0.5": constant_arm(),
        "all blocks at 1": constant_arm(leak=0.9),
        "style blocks at 1": constant_arm(),
    }
    text = compare_scales(means, "all blocks", [0.5, 1.0], "style blocks at 1")
    assert text == (
        "At 0.5, all blocks are in no score significantly worse than style blocks at 1; "
        "significantly worse at 1 (content leakage)."
    )
    text = compare_scales(means, "all blocks", [1.0], "style blocks at 1")
    assert text.startswith("At every scale all blocks")


def test_scales_are_free_up_to_the_first_with_a_cost():
    means = {"none": constant_arm(leak=0.0)}
    means |= {
        f"all blocks at {scale:g}": constant_arm(leak=leak) for scale, leak in [(0.2, 0.0), (0.4, 0.3), (0.6, 0.0)]
    }
    assert describe_free_scales(means, "all blocks", [0.2, 0.4, 0.6], "none").endswith(
        "no significant cost up to 0.2; a significant cost at 0.4."
    )
    assert "at 0.4, the lowest scale" in describe_free_scales(means, "all blocks", [0.4, 0.6], "none")
    assert "at any scale up to 0.2" in describe_free_scales(means, "all blocks", [0.2], "none")


def test_the_recommended_scale_has_no_cost_and_transfers_the_most():
    """0.2 transfers less than 0.4; at 0.6 content leaks."""
    means = {"none": constant_arm(leak=0.0)}
    means |= {
        f"style blocks at {scale:g}": constant_arm(leak=leak, palette=palette)
        for scale, leak, palette in [(0.2, 0.0, 0.1), (0.4, 0.0, 0.5), (0.6, 0.4, 0.6)]
    }
    text = recommend_scale(means, "style blocks", [0.2, 0.4, 0.6], "none", 0.4)
    assert text.startswith("At 0.4 style blocks have no significant cost")
    assert text.endswith("The default, 0.4, is among them.")
    assert "is not among them" in recommend_scale(means, "style blocks", [0.2, 0.4, 0.6], "none", 0.2)
    assert "No scale of style blocks" in recommend_scale(means, "style blocks", [0.6], "none", 0.6)


def test_proposed_roles_are_compared_with_the_shipped_ones():
    shipped = {"style": ["a", "b"], "layout": ["c"], "other": ["d"]}
    proposed = {
        "style": {"blocks": ["b", "a"], "confidence": 0.914},
        "layout": {"blocks": ["d"], "confidence": None},
    }
    style, layout, other = describe_roles({"proposed": proposed}, shipped).splitlines()
    assert style == "- style: `b`, `a` (first in 91% of resamples); as shipped."
    assert layout.endswith("not as shipped: `c`.")
    assert "no block's effect is significantly above zero" in other


def test_a_claim_holds_or_its_opposite_or_neither_is_shown():
    means = {
        "cures": {
            "a": constant_arm(leak=0.1),
            "b": constant_arm(leak=0.4),
            "c": constant_arm() | {"leak": [0.0, 0.5, 0.1, 0.0] * 3},
        }
    }
    rows = format_claims(
        means,
        [
            Claim("Less", "a", "b", "leak", -1),
            Claim("More", "a", "b", "leak", 1),
            Claim("Less", "a", "c", "leak", -1),
        ],
    ).splitlines()[2:]
    assert [row.split(" | ")[-1] for row in rows] == ["holds |", "**the opposite holds** |", "not shown |"]
    assert "-0.30 (-0.30 to -0.30)" in rows[0]


def test_claims_on_unmeasured_scores_are_omitted():
    means = {"cures": {"a": constant_arm(), "b": constant_arm()}}
    claims = [Claim("Consistent", "a", "b", "consistency", 1), Claim("Less", "a", "b", "leak", -1)]
    assert "Consistent" not in format_claims(means, claims)
    assert "| Less |" in format_claims(means, claims)
