"""The mutants of the method's modules."""

from pathlib import Path

from coverage import CoverageData

from .mutants import PACKAGE, ROOT, Mutant, list_mutants, list_skipped
from .page import compute_interval, render_page
from .run import MOST_TESTS, LineTests


def test_a_mutant_changes_its_line_and_the_module_can_still_be_compiled():
    mutants = list_mutants()
    assert len({(mutant.module, mutant.operator, mutant.occurrence) for mutant in mutants}) == len(mutants)
    for mutant in mutants[:: len(mutants) // 40]:
        source = (ROOT / mutant.module).read_text()
        changed = mutant.change(source)
        compile(changed, str(mutant.module), "exec")
        lines = zip(source.splitlines(), changed.splitlines(), strict=False)
        assert next(number for number, (one, other) in enumerate(lines, 1) if one != other) == mutant.line


def test_annotations_decorators_and_blocks_for_type_checkers_are_left_out():
    source = "@a(b=1)\ndef f(x: int | None = 1) -> int | str:\n    y: int = 2\n\nif TYPE_CHECKING:\n    z = 3\n"
    lines = source.splitlines()
    skipped = [lines[first[0] - 1][first[1] :].split("\n")[0] for first, _ in sorted(list_skipped(source))]
    assert [text.split(")")[0].split(" =")[0] for text in skipped] == [
        "a(b=1",
        "int | None",
        "int | str:",
        "int",
        "if TYPE_CHECKING:",
    ]


def test_a_mutant_meets_tests_of_its_own_file_small_ones_and_others_and_a_constant_those_of_its_module():
    data, file = CoverageData(no_disk=True), PACKAGE / "core" / "a.py"
    # Line 1 runs at import, line 9 never.
    data.add_lines({str(ROOT / file): [1]})
    small, large = ([f"tests/test_{size}.py::test_{i:02}" for i in range(40)] for size in ("small", "large"))
    own = ["tests/core/test_a.py::test_own"]
    for test, lines in [*((each, [2]) for each in [*small, *own]), *((each, [2, 3, 4, 5]) for each in large)]:
        data.set_context(f"{test}|run")
        data.add_lines({str(ROOT / file): lines})
    data.set_context("")
    tests = LineTests(data)
    found, constant, only_large, never = (tests.find(Mutant(file, "AddNot", 0, line)) for line in (2, 1, 3, 9))
    assert found == constant
    assert (found[0], len({*found}), never) == (own[0], MOST_TESTS, [])
    assert {*found[1 : MOST_TESTS // 2]} < {*small}
    assert {*found[MOST_TESTS // 2 :]} & {*large}
    assert {*only_large} < {*large}


def test_the_page_lists_what_was_not_noticed():
    rows = [
        {"place": "core/a.py:1", "operator": "AddNot", "outcome": "killed"},
        {
            "place": "core/b.py:2",
            "operator": "AddNot",
            "outcome": "survived",
            "diff": ["-    if a | b:", "+    if not a | b:"],
        },
    ]
    page = render_page(dict(mutants=10, sample=2, minutes=1, seed=0, commit="abc", tested=rows), 60)
    assert "| core/b.py:2 | `if a \\| b:` → `if not a \\| b:` | yes |" in page
    assert "noticed | 1 (50%, 95 % interval 9%–91%)" in page
    assert Path("core/a.py:1").name not in page


def test_the_interval_of_a_share_is_wilsons():
    low, high = compute_interval(8, 10)  # Newcombe 1998, method 3: 0.490 to 0.943
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
