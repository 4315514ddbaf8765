"""The page from files of results: every figure finds its place, none is made up."""

from benchmarks.page import GPU_ROWS, NAMES, ROWS, accelerators, gpu, page, resident, shares

KEPT = {
    "arms": {
        "our bound style file": {"resident_bytes": 850_000, "held_bytes": 420_000, "tensor_bytes": 409_600},
        "diffusers": {
            "resident_bytes": 4_400_000_000,
            "held_bytes": 4_390_000_000,
            "tensor_bytes": 4_300_000_000,
        },
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
BUNDLED = {
    "step": {"ours_to_plain": 1.04, "ours_to_diffusers": 0.95},
    "picture": {"ours_seconds": 1.5},
    "many": {"pictures": 100, "ours_seconds": 151.2, "diffusers_seconds": 160.4, "ours_to_diffusers": 0.94},
}
BLOCKS = {"max_relative_error": 1e-6, "time_ours_to_plain": 0.98, "time_ours_to_diffusers": 0.97}
FULL_SIZE = {
    "blocks": {"style": BLOCKS, "all": BLOCKS},
    "arms": {
        "ours style": {"bytes_read": 179, "network_bytes": 819_200},
        "diffusers style": {"network_bytes": 1_405_140_992},
    },
    "adapter_file_bytes": 1000,
}
MADE_UP = {
    "accelerators": SAVED,
    "bundled": BUNDLED,
    "cold": {"seconds_to_spare": 2.2},
    "full_size": FULL_SIZE,
    "growth": {"references": {"exponent": 0.05}, "pictures": {"exponent": 0.62}},
    "resident": KEPT,
    "shares": SHARES,
}
ARM = {"seconds": 1.2, "to_plain": 1.0, "to_diffusers": 0.965, "peak_bytes": 7_650_000_000}
SETTING = {"way": "eager", "pictures": 1, "floor_seconds": 0.4, "arms": {"ours style": ARM}}
BY_GPU = {"device": "NVIDIA H200", "steps": 30, "settings": [SETTING, {**SETTING, "floor_seconds": None}]}


def results(found):
    where = {"machine": "m", "torch": "t", "diffusers": "d"}
    settings = {"command": "python -m benchmarks.x", "side": 32, **where}
    return {"question": "Which?", "settings": settings, "results": found}


def files(**more):
    return {name: results(found) for name, found in {**MADE_UP, **more}.items()}


def test_the_page_has_every_row_and_all_tables():
    assert set(MADE_UP) == set(NAMES)
    told = page(files())
    assert all(f"| {row.question} | {row.against} |" in told for row in ROWS)
    assert "a bound file, resident | below | 0.85 MB | ≤ 1.00 MB | met |" in told
    assert "| the plain step | 1.04× | ≤ 1.00× | **missed** |" in told
    assert "100, in 151 s, and in 160 s" in told
    assert "36 pictures each" in told
    assert resident(KEPT) in told
    assert accelerators(SAVED) in told
    assert shares(SHARES) in told
    assert "{" not in told


def test_what_no_gpu_measured_is_not_told():
    told = page(files())
    assert "for want of a CUDA device" in told
    assert not any(row.told({"gpu": BY_GPU}) in told for row in GPU_ROWS)


def test_what_a_gpu_measured_is_told():
    told = page(files(gpu=BY_GPU))
    assert "want of a CUDA device" not in told
    assert gpu(BY_GPU) in told
    assert "CUDA | diffusers' own path, same blocks | 0.96× | ≤ 0.97× | met |" in told
    *_, first, last = gpu(BY_GPU).splitlines()
    assert first == "| eager | 1 | ours style | 1.20 | 1.000× | 0.965× | 7.65 GB | 3.00 |"
    assert last.endswith("| – |")


def test_accelerators_are_told_a_row_each():
    assert accelerators(SAVED).splitlines()[-1] == (
        "| guidance in 0–0.5 | 0.75× | 0.021 | 0.80 | 0.05 | 0.20 | 0.30 |"
    )


def test_what_is_kept_is_told_in_megabytes():
    assert resident(KEPT).splitlines()[-1] == "| diffusers | 4,400.00 MB | 4,390.00 MB | 4,300.00 MB |"


def test_parts_are_told_by_their_share():
    assert shares(SHARES).splitlines()[-2] == "| the network | 94.9% | 20 |"
