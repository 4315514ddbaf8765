"""Imports follow the contracts of pyproject.toml, which docs/architecture.md repeats."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def run_linter(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    return subprocess.run([*command, "--no-cache", *options], cwd=ROOT, capture_output=True, text=True)


def contract(number: int) -> list[list[str]]:
    """Return the rows of a contract, each a list of modules."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][number]["layers"]
    return [row.split(" | ") for row in layers]


def documented_rows(page: str) -> list[list[str]]:
    """Return the packages of each numbered row of the page's table."""
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", page, re.MULTILINE)
    return [re.findall(r"`(\w+)`", row) for row in rows]


def test_a_module_imports_only_from_lower_rows():
    result = run_linter()
    assert result.returncode == 0, result.stdout


def test_the_linter_can_fail(tmp_path):
    upside_down = tmp_path / "contract.toml"
    upside_down.write_text(
        '[tool.importlinter]\nroot_package = "instantstyle"\n'
        '[[tool.importlinter.contracts]]\nname = "upside down"\ntype = "layers"\n'
        'layers = ["instantstyle.errors", "instantstyle.unet.blocks"]\n'
    )
    assert run_linter("--config", str(upside_down)).returncode != 0


def test_the_page_lists_the_rows_of_the_contract():
    assert documented_rows(PAGE) == contract(0)


def test_the_page_mentions_every_module_of_core_in_the_order_of_the_contract():
    rows = contract(1)
    row_of = {module: place for place, row in enumerate(rows) for module in row}
    five = re.findall(r"^\d\. \[`core/(\w+)\.py`\]", PAGE, re.MULTILINE)
    others = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted([*five, *others]) == sorted(row_of)
    assert [row_of[module] for module in others] == sorted(row_of[module] for module in others)


def test_the_comparison_of_the_page_can_fail():
    assert documented_rows(PAGE.replace("`batch`", "`batches`")) != contract(0)
