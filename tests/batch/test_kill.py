"""Killed at any moment and started again, a run ends as if nothing had been: real processes, real kills."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import draw_into, pictures
from .stand_in import Painter, rows_of

ROOT = Path(__file__).parents[2]

# The run of a process that is killed when it comes to the given moment for the fourth time.
RUN = """
import os, signal, sys
from instantstyle import files
from instantstyle.batch import Ledger, draw_rows
from tests.batch.disk import Disk
from tests.batch.painter import Painter, rows_of

calls = 0
def fatal(function, after):
    def wrapped(*given, **named):
        global calls
        calls += 1
        if calls == 4 and not after: os.kill(os.getpid(), signal.SIGKILL)
        result = function(*given, **named)
        if calls == 4 and after: os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

owner, name, after = {
    "before the draft is complete": (files, "_to_disk", False),
    "before the rename": (os, "replace", False),
    "after the rename": (os, "replace", True),
    "before the put": (Disk, "pipe_file", False),
    "before the move": (Disk, "mv", False),
    "after the move": (Disk, "mv", True),
    "after the picture is counted": (Ledger, "mark_drawn", True),
}[sys.argv[2]]
with Ledger.opened(sys.argv[1]) as opened:
    setattr(owner, name, fatal(getattr(owner, name), after))
    opened.enter(rows_of(10), 4)
    list(draw_rows(opened, rows_of(10), Painter(memory=3)))
"""


@pytest.mark.parametrize(
    ("protocol", "moment"),
    [
        ("", "before the draft is complete"),
        ("", "before the rename"),
        ("", "after the rename"),
        ("", "after the picture is counted"),
        ("file://", "before the rename"),
        ("file://", "after the rename"),
        ("disk://", "before the put"),
        ("disk://", "before the move"),
        ("disk://", "after the move"),
        ("disk://", "after the picture is counted"),
    ],
)
def test_whenever_it_is_killed_it_ends_as_an_undisturbed_run(folder, tmp_path, protocol, moment):
    output = f"{protocol}{folder}"
    killed = subprocess.run([sys.executable, "-c", RUN, output, moment], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert 3 <= len([name for name in pictures(folder) if name.endswith(".png")]) < 10
    draw_into(output, rows_of(10), Painter(memory=3), 4)
    disturbed = pictures(folder)
    os.rename(folder, tmp_path / "disturbed")
    draw_into(f"{protocol}{tmp_path / 'undisturbed'}", rows_of(10), Painter(memory=3), 4)
    assert disturbed == pictures(tmp_path / "undisturbed")
    assert len(disturbed) == 10


@pytest.mark.slow
def test_the_command_is_killed_in_the_middle_and_goes_on(run, model, tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    rows = [{"prompt": f"thing {n}", "style": "ink.png", "seed": n, "dtype": "float32"} for n in range(12)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("batch", "jobs.jsonl", "--model", str(model), "--steps", "8", "--height", "16", "--width", "16")
    code = "from instantstyle.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "out").glob("*.png"))) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out").glob("*.png"))) < 12
    again = run(*words, "--out", "out")
    assert (again.code, again.out) == (0, "out\n")
    assert "exist already" in again.err
    assert run(*words, "--out", "undisturbed").code == 0
    assert pictures(tmp_path / "out") == pictures(tmp_path / "undisturbed")
    assert len(pictures(tmp_path / "out")) == 12
