"""The examples of docs/batch.md and the batch example of the README run as written, on the bundled model."""

import re
import shlex
from pathlib import Path

import pytest

from instantstyle.imaging.png_metadata import read_recipe

from ..guards.test_documented_commands import find_commands
from .conftest import read_files

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")

REMOTE = ("://", "--backend ray")
"""Marks of commands that need a remote store or a cluster."""


@pytest.mark.slow
def test_the_documented_commands_run(run, tmp_path):
    [rows] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for line in find_commands(PAGE) if not any(mark in line for mark in REMOTE)]
    lines += [line for line in find_commands((ROOT / "README.md").read_text()) if " batch " in line]
    results = []
    for line in lines:
        (tmp_path / "jobs.jsonl").write_text(rows)
        # Two steps are enough; an image that is reproduced has its own number of steps.
        steps = [] if " reproduce " in line else ["--steps", "2"]
        done = run(*shlex.split(line, comments=True)[1:], *steps)
        assert done.code == 0, f"{line}: {done.err}"
        results.append(done)
    assert "12 of 12 images are in pictures, 0 failed" in results[2].err
    assert "3 of 3 exist already" in results[4].err
    assert [done.out for done in results if "identical" in done.out] == ["bit-identical\n"] * 2
    assert "8 of 8 images are in pictures" in results[-1].err
    images = [name for name in read_files(tmp_path / "drawn") if name.startswith("a-")]
    assert sorted(read_recipe(tmp_path / "drawn" / name).prompt for name in images) == [
        "a crown",
        "a mushroom",
        "a rocket",
    ]
    assert all((tmp_path / out / "index.html").is_file() for out in ("pictures", "drawn"))
