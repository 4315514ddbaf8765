"""The examples of docs/batch.md, and the README's of a batch, as they stand there, on the bundled model."""

import re
import shlex
from pathlib import Path

import pytest

from instantstyle.imaging.png_metadata import read_recipe

from ..guards.test_documented_commands import commands
from .conftest import pictures

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")

ELSEWHERE = ("://", "--backend ray")
"""What takes a store across a network, or a cluster."""


@pytest.mark.slow
def test_the_pages_lines_do_as_they_say(run, tmp_path):
    [rows] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for line in commands(PAGE) if not any(mark in line for mark in ELSEWHERE)]
    lines += [line for line in commands((ROOT / "README.md").read_text()) if " batch " in line]
    told = []
    for line in lines:
        (tmp_path / "jobs.jsonl").write_text(rows)
        # Few steps show that it is drawn; a picture that is drawn again has its own.
        few = [] if " reproduce " in line else ["--steps", "2"]
        done = run(*shlex.split(line, comments=True)[1:], *few)
        assert done.code == 0, f"{line}: {done.err}"
        told.append(done)
    assert "12 of 12 images are in pictures, 0 failed" in told[2].err
    assert "3 of 3 exist already" in told[4].err
    assert [done.out for done in told if "identical" in done.out] == ["bit-identical\n"] * 2
    assert "8 of 8 images are in pictures" in told[-1].err
    drawn = [name for name in pictures(tmp_path / "drawn") if name.startswith("a-")]
    assert sorted(read_recipe(tmp_path / "drawn" / name).prompt for name in drawn) == [
        "a crown",
        "a mushroom",
        "a rocket",
    ]
    assert all((tmp_path / out / "index.html").is_file() for out in ("pictures", "drawn"))
