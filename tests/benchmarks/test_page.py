"""The page contains every figure of its results."""

from typing import Any

from benchmarks.page import (
    GPU_ROWS,
    NAMES,
    ROWS,
    format_accelerators,
    format_gpu,
    format_resident,
    format_shares,
    render_page,
)

RESIDENT: dict[str, Any] = {
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
ACCELERATORS: dict[str, Any] = {
    "pictures": 36,
    "seed": 7,
    "settings": {
        "full drawing": {"time_to_full": 1.0, "mean_absolute_difference": 0.0, "scores": SCORES},
        "guidance in 0–0.5": {"time_to_full": 0.754, "mean_absolute_difference": 0.0214, "scores": SCORES},
    },
}
SHARES: dict[str, Any] = {
    "parts": {"the network": {"share": 0.949, "calls": 20}, "all else": {"share": 0.051, "calls": 1}}
}
BUNDLED: dict[str, Any] = {
    "step": {"ours_to_plain": 1.04, "ours_to_diffusers": 0.95},
    "picture": {"ours_seconds": 1.5},
    "many": {"pictures": 100, "ours_seconds": 151.2, "diffusers_seconds": 160.4, "ours_to_diffusers": 0.94},
}
BLOCKS = {"max_relative_error": 1e-6, "time_ours_to_plain": 0.98, "time_ours_to_diffusers": 0.97}
FULL_SIZE: dict[str, Any] = {
    "blocks": {"style": BLOCKS, "all": BLOCKS},
    "arms": {
        "ours style": {"bytes_read": 179, "network_bytes": 819_200},
        "diffusers style": {"network_bytes": 1_405_140_992},
    },
    "adapter_file_bytes": 1000,
}
RESULTS: dict[str, Any] = {
    "accelerators": ACCELERATORS,
    "bundled": BUNDLED,
    "cold": {"seconds_to_spare": 2.2},
    "full_size": FULL_SIZE,
    "growth": {"references": {"exponent": 0.05}, "pictures": {"exponent": 0.62}},
    "resident": RESIDENT,
    "shares": SHARES,
}
ARM = {"seconds": 1.2, "to_plain": 1.0, "to_diffusers": 0.965, "peak_bytes": 7_650_000_000}
SETTING = {"way": "eager", "pictures": 1, "floor_seconds": 0.4, "arms": {"ours style": ARM}}
GPU: dict[str, Any] = {
    "device": "NVIDIA H200",
    "steps": 30,
    "settings": [SETTING, {**SETTING, "floor_seconds": None}],
}


def result_file(results: Any) -> dict[str, Any]:
    environment = {"machine": "m", "torch": "t", "diffusers": "d"}
    settings = {"command": "python -m benchmarks.x", "side": 32, **environment}
    return {"question": "Which?", "settings": settings, "results": results}


def result_files(**more: Any) -> dict[str, dict[str, Any]]:
    return {name: result_file(results) for name, results in {**RESULTS, **more}.items()}


def test_the_page_has_every_row_and_all_tables():
    assert set(RESULTS) == set(NAMES)
    text = render_page(result_files())
    assert all(f"| {row.quantity} | {row.baseline} |" in text for row in ROWS)
    assert "from a bound file, SDXL | – | 0.85 MB | ≤ 1.00 MB | met |" in text
    assert "| the plain step | 1.04× | ≤ 1.00× | **missed** |" in text
    assert "100, in 151 s with this package and in\n160 s with diffusers" in text
    assert "36 images\neach" in text
    assert format_resident(RESIDENT) in text
    assert format_accelerators(ACCELERATORS) in text
    assert format_shares(SHARES) in text
    assert "{" not in text


def test_without_results_of_a_gpu_its_figures_are_omitted():
    text = render_page(result_files())
    assert "Not measured: it requires a CUDA device" in text
    assert not any(row.render({"gpu": GPU}) in text for row in GPU_ROWS)


def test_results_of_a_gpu_are_shown():
    text = render_page(result_files(gpu=GPU))
    assert "Not measured: it requires a CUDA device" not in text
    assert format_gpu(GPU) in text
    assert "CUDA | diffusers' own path, same blocks | 0.96× | ≤ 0.97× | met |" in text
    *_, first, last = format_gpu(GPU).splitlines()
    assert first == "| eager | 1 | ours style | 1.20 | 1.000× | 0.965× | 7.65 GB | 3.00 |"
    assert last.endswith("| – |")


def test_each_accelerator_has_a_row():
    assert format_accelerators(ACCELERATORS).splitlines()[-1] == (
        "| guidance in 0–0.5 | 0.75× | 0.021 | 0.80 | 0.05 | 0.20 | 0.30 |"
    )


def test_memory_is_shown_in_megabytes():
    assert format_resident(RESIDENT).splitlines()[-1] == "| diffusers | 4,400.00 MB | 4,390.00 MB | 4,300.00 MB |"


def test_each_part_has_its_share():
    assert format_shares(SHARES).splitlines()[-2] == "| the network | 94.9% | 20 |"
