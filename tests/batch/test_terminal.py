"""Progress of a batch on a terminal and in a log."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROWS = 6


def run_on_terminal(folder: Path, *words: object) -> str:
    """Run the command on a pseudo-terminal and return its output without control sequences."""
    terminal, end = pty.openpty()
    code = "from instantstyle.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(end)
        output = b""
        # Reading a terminal raises EIO once the other end is closed.
        with suppress(OSError):
            while part := os.read(terminal, 4096):
                output += part
        os.close(terminal)
    assert process.returncode == 0, output.decode()
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", output.decode())


def test_a_terminal_shows_a_progress_bar_and_a_log_one_line_per_image(run, model, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,seed\n" + "".join(f"thing {n},{n}\n" for n in range(ROWS)))
    words = ("batch", "jobs.csv", "--model", model, "--steps", 20, "--height", 16, "--width", 16)
    output = run_on_terminal(tmp_path, *words, "--out", "terminal")
    assert re.search(rf"[1-{ROWS - 1}]/{ROWS} images \d:\d\d:\d\d", output)
    # The bar is redrawn in place and removed at the end; there is no line per image.
    assert ".png" not in output
    assert f"{ROWS} of {ROWS} images are in terminal, 0 failed" in output

    lines = run(*words, "--out", "log").err.splitlines()
    progress = [line for line in lines if re.match(rf"\d/{ROWS} thing-\d-.*\.png", line)]
    assert len(progress) == ROWS
    assert all(re.search(r", \d.* left$", line) for line in progress[1:-1])
    assert "\x1b" not in "".join(lines)
