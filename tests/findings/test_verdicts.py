"""Each sentence follows from the figures: other figures, another sentence."""

from findings.claims import Claim, claims
from findings.verdicts import begin, cured, matched, roles, safe

CURES = ["all blocks, mask", "all blocks, clean"]
REFERENCES = 12
FAIR = {"leak": 0.5, "subject": 0.5, "palette": 0.5, "look": 0.5}


def arm(**scores: float) -> dict[str, list[float]]:
    """The same at every reference: such differences are sure."""
    return {name: [value] * REFERENCES for name, value in {**FAIR, **scores}.items()}


def told(**by_arm: dict[str, list[float]]) -> str:
    means = {"all blocks": arm(), CURES[0]: by_arm["mask"], CURES[1]: by_arm["clean"]}
    return cured(means, "all blocks", CURES)


def test_the_cure_that_surely_leaks_least_at_no_price_wins():
    text = told(mask=arm(leak=0.1), clean=arm(leak=0.2))
    assert "with mask and clean. None of these surely has a price." in text
    assert "The winner is mask" in text


def test_two_that_are_alike_leave_no_winner():
    assert "No winner: no cure" in told(mask=arm(leak=0.1), clean=arm(leak=0.1))


def test_a_cure_that_costs_the_look_does_not_win_and_its_price_is_told():
    text = told(mask=arm(leak=0.1, palette=0.2, subject=0.1), clean=arm(leak=0.2))
    assert "surely at a price: mask (asked thing seen, palette)" in text
    assert "No winner" in text


def test_where_nothing_surely_helps_it_is_said():
    unsure = arm() | {"leak": [0.5, 0.9, 0.0] * 4}
    assert "none of the 2 cures surely shows less" in told(mask=arm(), clean=unsure)


def test_a_scale_that_is_nowhere_worse_is_named():
    means = {"all blocks at 0.5": arm(), "all blocks at 1": arm(leak=0.9), "style blocks at 1": arm()}
    text = matched(means, "all blocks", [0.5, 1.0], "style blocks at 1")
    assert text == (
        "At 0.5, all blocks are in no score surely worse than style blocks at 1; "
        "surely worse at 1 (reference's thing seen)."
    )
    assert matched(means, "all blocks", [1.0], "style blocks at 1").startswith("At every scale all blocks")


def test_a_scale_is_safe_until_the_first_that_is_not():
    means = {"none": arm(leak=0.0)}
    means |= {
        f"all blocks at {scale:g}": arm(leak=leak) for scale, leak in [(0.2, 0.0), (0.4, 0.3), (0.6, 0.0)]
    }
    assert safe(means, "all blocks", [0.2, 0.4, 0.6], "none").endswith(
        "up to 0.2 neither is sure; at 0.4 one is."
    )
    assert "already at 0.4" in safe(means, "all blocks", [0.4, 0.6], "none")
    assert "at no scale up to 0.2" in safe(means, "all blocks", [0.2], "none")


def test_one_begins_where_nothing_is_lost_and_enough_is_given():
    """0.2 gives less than 0.4; at 0.6 the reference's thing appears."""
    means = {"none": arm(leak=0.0)}
    means |= {
        f"style blocks at {scale:g}": arm(leak=leak, palette=palette)
        for scale, leak, palette in [(0.2, 0.0, 0.1), (0.4, 0.0, 0.5), (0.6, 0.4, 0.6)]
    }
    text = begin(means, "style blocks", [0.2, 0.4, 0.6], "none", 0.4)
    assert text.startswith("At 0.4 style blocks have no sure price")
    assert text.endswith("The default, 0.4, is among them.")
    assert "is not among them" in begin(means, "style blocks", [0.2, 0.4, 0.6], "none", 0.2)
    assert "No scale of style blocks" in begin(means, "style blocks", [0.6], "none", 0.6)


def test_proposed_roles_are_held_against_those_that_ship():
    shipped = {"style": ["a", "b"], "layout": ["c"], "other": ["d"]}
    proposed = {
        "style": {"blocks": ["b", "a"], "confidence": 0.914},
        "layout": {"blocks": ["d"], "confidence": None},
    }
    style, layout, other = roles({"shipped": shipped, "proposed": proposed}).splitlines()
    assert style == "- style: `b`, `a` (first in 91% of resamples); what ships."
    assert layout.endswith("not what ships: `c`.")
    assert "no block's effect is surely above zero" in other


def test_a_claim_holds_or_its_opposite_or_neither_is_shown():
    means = {
        "cures": {"a": arm(leak=0.1), "b": arm(leak=0.4), "c": arm() | {"leak": [0.0, 0.5, 0.1, 0.0] * 3}}
    }
    rows = claims(
        means,
        [
            Claim("Less", "a", "b", "leak", -1),
            Claim("More", "a", "b", "leak", 1),
            Claim("Less", "a", "c", "leak", -1),
        ],
    ).splitlines()[2:]
    assert [row.split(" | ")[-1] for row in rows] == ["holds |", "**the opposite holds** |", "not shown |"]
    assert "-0.30 (-0.30 to -0.30)" in rows[0]


def test_of_what_was_not_measured_nothing_is_claimed():
    means = {"cures": {"a": arm(), "b": arm()}}
    told = [Claim("Alike", "a", "b", "consistency", 1), Claim("Less", "a", "b", "leak", -1)]
    assert "Alike" not in claims(means, told)
    assert "| Less |" in claims(means, told)
