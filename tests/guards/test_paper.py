"""Each claim in docs/paper.md names existing files, tests and sections."""

import re
from pathlib import Path

from findings.page import PAGE

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "docs" / "paper.md"
TEMPLATES = {PAGE: Path("findings/page.md"), Path("docs/mini.md"): Path("training/mini/card.md")}
"""Templates of the pages that commands write; headings are read from the templates."""


def read_claims() -> list[list[str]]:
    """Return the cells of the tables' rows: claim, implementation, test, evidence."""
    rows = [line.strip("|").split("|") for line in PAPER.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "the paper says"]


def find_missing(text: str) -> list[str]:
    """Find files and tests in code spans that do not exist."""
    spans = re.findall(r"`((?:src|tests|findings|training|benchmarks)/[^`]+)`", text)
    return [span for span in spans if not _exists(*span.split("::"))]


def _exists(file: str, test: str = "") -> bool:
    path = ROOT / file
    return path.is_file() and (not test or f"def {test}(" in path.read_text())


def find_broken_links(text: str) -> list[str]:
    """Find links to pages and sections of the documentation that do not exist."""
    links = re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", text)
    return [f"{page}#{anchor}" for page, anchor in links if not _has_section(page, anchor)]


def _has_section(page: str, anchor: str) -> bool:
    path = Path("docs") / page
    source = ROOT / TEMPLATES.get(path, path)
    return source.is_file() and (not anchor or anchor in _anchors(source.read_text()))


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub creates for headings."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_named_file_and_test_exists():
    assert find_missing(PAPER.read_text()) == []


def test_every_linked_section_exists():
    assert find_broken_links(PAPER.read_text()) == []


def is_complete(claim: list[str]) -> bool:
    """Return whether a claim names a test, and figures or the reason why there are none."""
    _, _, test, evidence = claim
    has_test = "::" in test or test == "the same"
    return has_test and re.match(r"not shown here, because \w+|\[", evidence) is not None


def test_every_claim_names_a_test_and_figures_or_why_there_are_none():
    assert [claim[0] for claim in read_claims() if not is_complete(claim)] == []


def test_this_check_can_fail():
    assert find_missing("`src/instantstyle/pipe.py` `tests/core/test_style.py::test_nothing`") == [
        "src/instantstyle/pipe.py",
        "tests/core/test_style.py::test_nothing",
    ]
    assert find_broken_links("[a](probe.md#nowhere) [b](nowhere.md) [c](probe.md)") == [
        "probe.md#nowhere",
        "nowhere.md#",
    ]
    assert not is_complete(["a claim", "`src/x.py`", "no test", "[figures](findings.md)"])
    assert not is_complete(["a claim", "`src/x.py`", "the same", "somewhere"])
    assert len(read_claims()) > 20
