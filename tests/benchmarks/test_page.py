"""The page from files of results: every figure finds its place, none is made up."""

from benchmarks.page import ROWS, accelerators, page, read, resident

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


def results(found):
    settings = {"command": "python -m benchmarks.x", "machine": "m", "torch": "t", "diffusers": "d"}
    return {"question": "Which?", "settings": settings, "results": found}


def test_the_page_has_every_row_and_both_tables():
    told = page(read() | {"resident": results(KEPT), "accelerators": results(SAVED)})
    assert all(f"| {row.question} |" in told for row in ROWS)
    assert "a bound file, resident | below | 0.85 MB | ≤ 1.00 MB | met |" in told
    assert "36 pictures each" in told
    assert resident(KEPT) in told
    assert accelerators(SAVED) in told
    assert "{" not in told


def test_accelerators_are_told_a_row_each():
    assert accelerators(SAVED).splitlines()[-1] == (
        "| guidance in 0–0.5 | 0.75× | 0.021 | 0.80 | 0.05 | 0.20 | 0.30 |"
    )


def test_what_is_kept_is_told_in_megabytes():
    assert resident(KEPT).splitlines()[-1] == "| diffusers | 4,400.00 MB | 4,300.00 MB |"
