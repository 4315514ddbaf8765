"""Importing us and refusing a visitor stay light; shown in fresh interpreters, ours having all loaded."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "gradio", "fastapi", "ray")


def loaded_by(code: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after running the code."""
    tell = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module",
    [
        "instantstyle",
        "instantstyle.cli",
        "instantstyle.recipe",
        "instantstyle.imaging.loading",
        "instantstyle.server",
        "instantstyle.studio",
    ],
)
def test_importing_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}") == set()


def test_refusing_a_bad_reference_loads_nothing_heavy():
    refuse = """
import sys
from instantstyle.cli import main
sys.argv = ["instantstyle", "generate", "a rocket", "--style", "nowhere.png"]
try: main()
except SystemExit: pass
"""
    assert loaded_by(refuse) == set()


def test_this_check_can_fail():
    assert "torch" in loaded_by("import instantstyle; instantstyle.Style")
