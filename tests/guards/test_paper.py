"""docs/paper.md keeps its word: each claim names files, tests and places that are there."""

import re
from pathlib import Path

import pytest

from findings.page import PAGE

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "docs" / "paper.md"
WRITTEN = {PAGE: Path("findings/page.md"), Path("docs/mini.md"): Path("training/mini/card.md")}
"""Pages that commands write, by their templates: what counts is what they will say."""


def claims() -> list[list[str]]:
    """Cells of the tables' rows: claim, done by, held by, shown."""
    rows = [line.strip("|").split("|") for line in PAPER.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "the paper says"]


def missing(text: str) -> list[str]:
    """Files and tests named in code spans that are not there."""
    spans = re.findall(r"`((?:src|tests|findings|training|benchmarks)/[^`]+)`", text)
    return [span for span in spans if not _is_there(*span.split("::"))]


def _is_there(file: str, test: str = "") -> bool:
    path = ROOT / file
    return path.is_file() and (not test or f"def {test}(" in path.read_text())


def dead(text: str) -> list[str]:
    """Links into our documents that lead nowhere."""
    links = re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", text)
    return [f"{page}#{anchor}" for page, anchor in links if not _leads(page, anchor)]


def _leads(page: str, anchor: str) -> bool:
    path = Path("docs") / page
    source = ROOT / WRITTEN.get(path, path)
    return source.is_file() and (not anchor or anchor in _anchors(source.read_text()))


def _anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_file_and_test_that_it_names_is_there():
    assert missing(PAPER.read_text()) == []


def test_every_place_that_it_links_to_is_there():
    assert dead(PAPER.read_text()) == []


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim[0][:40])
def test_a_claim_names_file_test_and_figure_or_why_there_is_none(claim):
    _, _, held, shown = claim
    assert "::" in held or held == "the same"
    assert re.match(r"not shown here, because \w+|\[", shown)


def test_this_check_can_fail():
    assert missing("`src/instantstyle/pipe.py` `tests/core/test_style.py::test_nothing`") == [
        "src/instantstyle/pipe.py",
        "tests/core/test_style.py::test_nothing",
    ]
    assert dead("[a](probe.md#nowhere) [b](nowhere.md) [c](probe.md)") == ["probe.md#nowhere", "nowhere.md#"]
    assert len(claims()) > 20
