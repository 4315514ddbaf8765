"""The page from files of results: every figure finds its place, none is made up."""

from benchmarks.page import NAMES, ROWS, accelerators, page, read, resident, shares

KEPT = {
    "arms": {
        "our bound style file": {"resident_bytes": 850_000, "tensor_bytes": 409_600},
        "diffusers": {"resident_bytes": 4_400_000_000, "tensor_bytes": 4_300_000_000},
    }
}
SCORES = {"subject": 0.8, "leak": 0.05, "look": 0.2, "palette": 0.3, "layout": 0.7}
SAVED = {
    "pictures": 36,
    "seed": 7,
    "settings": {
        "full drawing": {"time_to_full": 1.0, "mean_absolute_difference": 0.0, "scores": SCORES},
        "guidance in 0–0.5": {"time_to_full": 0.754, "mean_absolute_difference": 0.0214, "scores": SCORES},
    },
}
SHARES = {"parts": {"the network": {"share": 0.949, "calls": 20}, "all else": {"share": 0.051, "calls": 1}}}
MADE_UP = {"resident": KEPT, "accelerators": SAVED, "shares": SHARES}


def results(found):
    settings = {"command": "python -m benchmarks.x", "machine": "m", "torch": "t", "diffusers": "d"}
    return {"question": "Which?", "settings": settings, "results": found}


def test_the_page_has_every_row_and_both_tables():
    measured = read([name for name in NAMES if name not in MADE_UP])
    told = page(measured | {name: results(found) for name, found in MADE_UP.items()})
    assert all(f"| {row.question} |" in told for row in ROWS)
    assert "a bound file, resident | below | 0.85 MB | ≤ 1.00 MB | met |" in told
    assert "36 pictures each" in told
    assert resident(KEPT) in told
    assert accelerators(SAVED) in told
    assert shares(SHARES) in told
    assert "{" not in told


def test_accelerators_are_told_a_row_each():
    assert accelerators(SAVED).splitlines()[-1] == (
        "| guidance in 0–0.5 | 0.75× | 0.021 | 0.80 | 0.05 | 0.20 | 0.30 |"
    )


def test_what_is_kept_is_told_in_megabytes():
    assert resident(KEPT).splitlines()[-1] == "| diffusers | 4,400.00 MB | 4,300.00 MB |"


def test_parts_are_told_by_their_share():
    assert shares(SHARES).splitlines()[-2] == "| the network | 94.9% | 20 |"
