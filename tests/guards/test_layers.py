"""The rows of the house hold: the contract of pyproject.toml, run as a test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    return subprocess.run([*command, "--no-cache", *options], cwd=ROOT, capture_output=True, text=True)


def test_a_file_imports_only_from_lower_rows():
    done = lint()
    assert done.returncode == 0, done.stdout


def test_this_check_can_fail(tmp_path):
    upside_down = tmp_path / "contract.toml"
    upside_down.write_text(
        '[tool.importlinter]\nroot_package = "instantstyle"\n'
        '[[tool.importlinter.contracts]]\nname = "upside down"\ntype = "layers"\n'
        'layers = ["instantstyle.errors", "instantstyle.unet.blocks"]\n'
    )
    assert lint("--config", str(upside_down)).returncode != 0
