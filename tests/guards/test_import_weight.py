"""Importing the package and refusing invalid input load no heavy libraries, measured in new interpreters."""

import subprocess
import sys

LIGHT = (
    "instantstyle",
    "instantstyle.cli",
    "instantstyle.recipe",
    "instantstyle.imaging.loading",
    "instantstyle.server",
    "instantstyle.studio",
)
HEAVY = ("torch", "diffusers", "transformers", "gradio", "fastapi", "ray")


def loaded_by(code: str) -> set[str]:
    """Return the heavy libraries that a new interpreter has loaded after running the code."""
    listing = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{listing}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_loads_no_heavy_library():
    loaded = {module: loaded_by(f"import {module}") for module in LIGHT}
    assert {module: heavy for module, heavy in loaded.items() if heavy} == {}


def test_refusing_a_missing_reference_loads_no_heavy_library():
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
