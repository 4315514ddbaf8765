"""How far a batch is, as it is seen on a terminal, and as it stands in a log."""

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


def watched(folder: Path, *words: object) -> str:
    """What a person sees of the command on a terminal."""
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
        seen = b""
        # A terminal that nobody holds open any more ends with a fault (EIO).
        with suppress(OSError):
            while part := os.read(terminal, 4096):
                seen += part
        os.close(terminal)
    assert process.returncode == 0, seen.decode()
    # Without colours and movements.
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", seen.decode())


def test_a_terminal_shows_a_bar_with_the_time_left_and_a_log_has_a_line_a_picture(run, model, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,seed\n" + "".join(f"thing {n},{n}\n" for n in range(ROWS)))
    words = ("batch", "jobs.csv", "--model", model, "--steps", 20, "--height", 16, "--width", 16)
    seen = watched(tmp_path, *words, "--out", "seen")
    assert re.search(rf"[1-{ROWS - 1}]/{ROWS} pictures \d:\d\d:\d\d", seen)
    # Drawn over itself, and gone at the end: no line for each.
    assert ".png" not in seen
    assert f"{ROWS} of {ROWS} images are in seen, 0 failed" in seen

    lines = run(*words, "--out", "told").err.splitlines()
    told = [line for line in lines if re.match(rf"\d/{ROWS} thing-\d-.*\.png", line)]
    assert len(told) == ROWS
    assert all(re.search(r", \d.* left$", line) for line in told[1:-1])
    assert "\x1b" not in "".join(lines)
