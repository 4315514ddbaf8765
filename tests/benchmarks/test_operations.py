"""The page of what a service and a batch carry: every figure finds its place, none is made up."""

from benchmarks.operations import load, page, throughput

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
THROUGHPUT = {
    "pictures_a_minute": {"this process": 61.2, "Ray, 1 worker": 58.9},
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
    assert "by +38 ms" in told
    assert "800 MB when it is warm" in told
    assert "912 MB at most" in told
    assert "813 MB at the end" in told
    assert all(f"`python -m benchmarks.{name}`" in told for name in files)
    assert "{" not in told


def test_clients_are_told_a_row_each():
    assert load(LOAD).splitlines()[2:] == [
        "| 1 | 152 | 150 | 2 | 0 | 75 | 0.80 s | 0.93 s | 800 → 812 MB |",
        "| 9 | 3 | 0 | 0 | 3 | 0 | – | – | 812 → 813 MB |",
    ]


def test_ways_of_drawing_are_told_a_row_each():
    assert throughput(THROUGHPUT).splitlines()[-1] == "| Ray, 1 worker | 59 |"
