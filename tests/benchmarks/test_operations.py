"""The page of the service and of batches contains every figure of its results."""

from typing import Any

from benchmarks.operations import format_hostile_clients, format_load, format_throughput, render_page

LOAD = {
    "clients": {
        "1": {
            "asked": 152, "served": 150, "sent_away": 2, "lost": 0, "requests_a_minute": 74.6,
            "p50_seconds": 0.801, "p95_seconds": 0.934,
            "resident_bytes": [800_000_000, 912_400_000, 812_400_000],
        },
        "9": {
            "asked": 3, "served": 0, "sent_away": 0, "lost": 3, "requests_a_minute": 0.0,
            "p50_seconds": None, "p95_seconds": None, "resident_bytes": [812_400_000, 813_400_000],
        },
    },
}  # fmt: skip
TIMES = {"median_seconds": 0.004, "max_seconds": 0.0612, "failed": 1}
HOSTILE = {
    "beside": {
        "no other clients": {"health": TIMES, "image": {"median_seconds": 1.5, "max_seconds": 2.25, "failed": 2}}
    },
    "stop_seconds": 0.33,
}
THROUGHPUT = {
    "pictures_a_minute": {"this process": 61.2, "Ray, 1 worker": 58.9},
    "overhead_seconds_a_picture": 0.0384,
}


def result_file(name: str, results: dict[str, Any], **more: Any) -> dict[str, Any]:
    settings = {"command": f"python -m benchmarks.{name}", "machine": "m", "torch": "t", "diffusers": "d"}
    return {"question": "Which?", "settings": settings | more, "results": results}


def test_the_page_has_all_tables_and_their_commands():
    files = {
        "load": result_file("load", LOAD, seconds=120.0),
        "hostile_clients": result_file("hostile_clients", HOSTILE, limit=60.0),
        "throughput": result_file("throughput", THROUGHPUT, pictures=12, rounds=5),
    }
    text = render_page(files)
    assert format_load(LOAD) in text
    assert format_hostile_clients(HOSTILE) in text
    assert format_throughput(THROUGHPUT) in text
    assert "ends within 0.33 s" in text
    assert "for 120 seconds" in text
    assert "by +38 ms" in text
    assert "800 MB after warm-up" in text
    assert "at most\n912 MB during" in text
    assert "813 MB at the end" in text
    assert all(f"`python -m benchmarks.{name}`" in text for name in files)
    assert "{" not in text


def test_each_number_of_clients_has_a_row():
    assert format_load(LOAD).splitlines()[2:] == [
        "| 1 | 152 | 150 | 2 | 0 | 75 | 0.80 s | 0.93 s | 800 → 812 MB |",
        "| 9 | 3 | 0 | 0 | 3 | 0 | – | – | 812 → 813 MB |",
    ]


def test_each_way_to_generate_has_a_row():
    assert format_throughput(THROUGHPUT).splitlines()[-1] == "| Ray, 1 worker | 59 |"


def test_each_kind_of_hostile_clients_has_a_row():
    assert format_hostile_clients(HOSTILE).splitlines()[2:] == [
        "| no other clients | 0.00 s | 0.06 s | 1.50 s | 2.25 s | 3 |"
    ]


def test_a_service_that_does_not_end_is_said_to_take_longer_than_the_limit():
    files = {
        "load": result_file("load", LOAD, seconds=120.0),
        "hostile_clients": result_file("hostile_clients", {**HOSTILE, "stop_seconds": None}, limit=60.0),
        "throughput": result_file("throughput", THROUGHPUT, pictures=12, rounds=5),
    }
    assert "ends within more than 60 s" in render_page(files)
