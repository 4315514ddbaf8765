"""The page of what a service and a batch carry: every figure finds its place, none is made up."""

from benchmarks.operations import load, page, throughput

LOAD = {
    "clients": {
        "1": {
            "asked": 150, "lost": 0, "requests_a_minute": 74.6, "p50_seconds": 0.801, "p95_seconds": 0.934,
            "resident_bytes_after": 812_400_000,
        },
    },
    "resident_bytes_at_start": 800_000_000,
    "resident_bytes_at_end": 812_400_000,
}  # fmt: skip
THROUGHPUT = {
    "pictures_a_minute": {"local": 61.2, "ray, 1 worker": 58.9},
    "overhead_seconds_a_picture": 0.0384,
}


def results(name: str, found: dict, **more) -> dict:
    settings = {"command": f"python -m benchmarks.{name}", "machine": "m", "torch": "t", "diffusers": "d"}
    return {"question": "Which?", "settings": settings | more, "results": found}


def test_the_page_has_both_tables_and_their_commands():
    files = {
        "load": results("load", LOAD, seconds=120.0),
        "throughput": results("throughput", THROUGHPUT, pictures=12, rounds=5),
    }
    told = page(files)
    assert load(LOAD) in told
    assert throughput(THROUGHPUT) in told
    assert "for 120 seconds" in told
    assert "costs 38 ms more" in told
    assert all(f"`python -m benchmarks.{name}`" in told for name in files)
    assert "{" not in told


def test_clients_are_told_a_row_each():
    assert load(LOAD).splitlines()[-1] == "| 1 | 150 | 0 | 75 | 0.80 s | 0.93 s | 812 MB |"


def test_ways_of_drawing_are_told_a_row_each():
    assert throughput(THROUGHPUT).splitlines()[-1] == "| ray, 1 worker | 59 |"
