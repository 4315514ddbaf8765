"""The examples of README and docs run as they stand, from top to bottom, each page in an empty folder."""

import re
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from instantstyle.models.registry import CARDS

from ..cli.conftest import run  # noqa: F401
from .documentation import LANGUAGES, PAGES, ROOT, ExampleFailed, find_examples, run_examples

REASONS = {
    "installs packages": 6,
    "needs SDXL's weights": 17,
    "needs FLUX.1's weights": 8,
    "needs SD3.5's weights": 1,
    "needs SDXL's weights and the package hidiffusion": 1,
    "needs the weights of SD1.5 and of a motion adapter": 3,
    "needs the network and Kolors' weights": 1,
    "downloads a ControlNet": 1,
    "needs Ray": 3,
    "needs a store in the network": 1,
    "needs a running server; tests/server/test_documented.py has one": 3,
    "trains for hours": 2,
    "needs Docker; tests/server/test_container.py runs its steps": 1,
}
"""Reasons for which an example is not run, with the largest number of examples that may have each."""

README, *DOCS = [page for page in PAGES if any(example.language in LANGUAGES for example in find_examples(page))]

OUTPUT = {
    "README.md": ["bit-identical"],
    "artist.md": ["bit-identical", "8 of 8 images are in pictures, 0 failed"],
    "flux.md": ["redux: MISSING", "redux: 1 reference, weight 0.2 in blocks style"],
    "batch.md": [
        "12 of 12 images are in pictures, 0 failed",
        "3 of 3 exist already",
        "bit-identical",
        "bit-identical",
    ],
}
"""By page: texts that its commands print, in this order."""


FEW_STEPS = 3
"""Steps of the bundled model where an example names none: that it runs does not depend on their number."""


@pytest.fixture
def run_page(run, tmp_path, library, monkeypatch):  # noqa: F811
    """Return a function that runs the examples of a page in an empty folder, with an empty library of styles."""
    monkeypatch.setitem(cast(dict[str, object], CARDS["mini"].defaults), "num_inference_steps", FEW_STEPS)

    def run_in_order(page: Path) -> str:
        for path in library.glob("*"):
            path.unlink()
        return run_examples(find_examples(page), run)

    yield run_in_order
    for path in library.glob("*"):
        path.unlink()


def check_output(page: Path, printed: str) -> None:
    expected = OUTPUT.get(page.name, [])
    found = re.search(".*".join(map(re.escape, expected)), printed, re.DOTALL)
    assert found, f"{page.name} does not print {expected}, in this order: {printed}"


def test_the_examples_of_the_readme_run_in_order(run_page):
    check_output(README, run_page(README))


@pytest.mark.slow
@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_examples_of_each_page_run_in_order(page, run_page):
    check_output(page, run_page(page))


def test_few_examples_are_not_run_and_each_has_a_known_reason():
    reasons = Counter(example.reason for page in PAGES for example in find_examples(page) if example.reason)
    assert {reason: count for reason, count in reasons.items() if count > REASONS.get(reason, 0)} == {}
    number = sum(example.language in LANGUAGES for page in PAGES for example in find_examples(page))
    assert sum(reasons.values()) < number / 2


def test_every_mark_stands_directly_above_a_block_and_every_block_has_a_known_language():
    for page in PAGES:
        examples = find_examples(page)
        text = page.read_text(encoding="utf-8")
        assert text.count("not run by the tests:") == sum(example.reason is not None for example in examples), page
        assert text.count("```") == 2 * len(examples), page
        assert {example.language for example in examples} <= {*LANGUAGES, "json"}, page


def test_commands_can_be_copied_without_a_sign_in_front():
    commands = [command for page in PAGES for example in find_examples(page) for command in example.commands]
    assert len(commands) > 50
    assert [command for command in commands if command.startswith(("$", ">"))] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\ntrue\n```\n\n```sh\nfalse\n```\n", "line 6.*'false' exits with 1"),
        ("```sh\ninstantstyle recipe missing.png\n```\n", "exits with 2: .*missing.png"),
        ("```python\na = 1\n```\n```python\nassert a == 2, 'a is 1'\n```\n", "line 5.*a is 1"),
    ],
)
def test_an_example_that_fails_is_reported_with_its_line(text, message, run_page, tmp_path):
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(ExampleFailed, match=re.compile(message, re.DOTALL)):
        run_page(tmp_path / "page.md")


def test_a_marked_example_is_not_run(run_page, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run by the tests: needs Ray -->\n```sh\nfalse\n```\n\n  ```python\n  a = 1\n  ```\n")
    marked, indented = find_examples(page)
    assert (marked.reason, indented.source) == ("needs Ray", "a = 1\n")
    assert run_page(page) == ""


def test_a_continued_line_and_a_here_document_are_one_command(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\n# A comment.\ncat > a.txt <<'END'\n# b\nEND\ncat a.txt \\\n  | wc -l\n```\n")
    [example] = find_examples(page)
    assert example.commands == ["cat > a.txt <<'END'\n# b\nEND", "cat a.txt   | wc -l"]


def test_the_page_that_runs_examples_elsewhere_exists():
    assert (ROOT / "tests/server/test_documented.py").exists()
