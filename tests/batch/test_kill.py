"""A run that is killed at any point and resumed ends like an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import generate_into, read_files
from .stub_backend import StubBackend, make_rows

ROOT = Path(__file__).parents[2]

# A run that is killed when it reaches the given point for the fourth time.
RUN = """
import os, signal, sys
from instantstyle.batch import Ledger, generate_rows
from tests.batch.disk import Disk
from tests.batch.stub_backend import StubBackend, make_rows

calls = 0
def kill_at_fourth_call(function, after):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == 4 and not after: os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == 4 and after: os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped

owner, name, after = {
    "before the draft is flushed": (os, "fsync", False),
    "before the rename": (os, "replace", False),
    "after the rename": (os, "replace", True),
    "before the put": (Disk, "pipe_file", False),
    "before the move": (Disk, "mv", False),
    "after the move": (Disk, "mv", True),
    "after the row is marked": (Ledger, "mark_generated", True),
}[sys.argv[2]]
with Ledger.open(sys.argv[1]) as ledger:
    setattr(owner, name, kill_at_fourth_call(getattr(owner, name), after))
    ledger.add_rows(make_rows(10), 4)
    list(generate_rows(ledger, make_rows(10), StubBackend(memory=3)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "point"),
    [
        ("", "before the draft is flushed"),
        ("", "before the rename"),
        ("", "after the rename"),
        ("", "after the row is marked"),
        ("file://", "before the rename"),
        ("file://", "after the rename"),
        ("disk://", "before the put"),
        ("disk://", "before the move"),
        ("disk://", "after the move"),
        ("disk://", "after the row is marked"),
    ],
)
def test_a_killed_run_ends_like_an_uninterrupted_one(folder, tmp_path, protocol, point):
    output = f"{protocol}{folder}"
    killed = subprocess.run([sys.executable, "-c", RUN, output, point], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert 3 <= len([name for name in read_files(folder) if name.endswith(".png")]) < 10
    generate_into(output, make_rows(10), StubBackend(memory=3), 4)
    killed = read_files(folder)
    os.rename(folder, tmp_path / "killed")
    generate_into(f"{protocol}{tmp_path / 'uninterrupted'}", make_rows(10), StubBackend(memory=3), 4)
    assert killed == read_files(tmp_path / "uninterrupted")
    assert len(killed) == 10


@pytest.mark.slow
def test_a_killed_command_continues(run, model, tmp_path, reference):
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
    assert run(*words, "--out", "uninterrupted").code == 0
    assert read_files(tmp_path / "out") == read_files(tmp_path / "uninterrupted")
    assert len(read_files(tmp_path / "out")) == 12
