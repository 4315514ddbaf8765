"""Files that no reader accepts end the command with exit code 2 and short lines, and nothing is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "surrogate.jsonl": (
        b'{"prompt": "a \\ud83d b"}\n',
        "line 1: Recipe is invalid: prompt is 'a \\\\ud83d b', which has half",
    ),
    "blocks.jsonl": (b'{"prompt": "x", "blocks": "\\ud800"}', "line 1: Recipe is invalid: blocks is '\\\\ud800'"),
    "model.jsonl": (b'{"prompt": "x", "model": "/proc/self/mem"}', "line 1: /proc/self/mem cannot be"),
    "style.jsonl": (
        b'{"prompt": "x", "style": "%s"}' % (b"x" * 300),
        "line 1: Recipe is invalid: references.0.name is 'xxx",
    ),
    "nul.jsonl": (b'{"prompt": "x", "style": "a\\u0000.png"}', "line 1: Recipe is invalid: references.0.name is"),
    "deep.jsonl": (b'{"prompt": ' + b"[" * 990 + b"]" * 990 + b"}", "line 1: it is nested deeper than 32 levels."),
    "digits.jsonl": (b'{"prompt": "x", "seed": %s}' % (b"1" * 5000), "line 1: it has a number with too many digits."),
    "latin.csv": (b"prompt\ncaf\xe9\n", "cannot be read as a manifest ('utf-8' codec can't decode byte 0xe9"),
    "quote.csv": (b'prompt\n"a\n', "quote.csv, line 2: unexpected end of data."),
    "field.csv": (b"prompt\n" + b"x" * 200_000, "field.csv, line 2: field larger than field limit (131072)."),
    "binary.csv": (bytes(range(256)) * 10, "cannot be read as a manifest"),
    "deep.yaml": (b"- " + b"[" * 500 + b"]" * 500, "on line 1: it is nested deeper than 32 levels."),
    "bomb.yaml": (
        b"- &a0 [l]\n" + b"".join(b"- &a%d [%s]\n" % (n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)),
        "repeats more than 200,000 values by aliases",
    ),
    "date.yaml": (
        b"- prompt: x\n  seed: 2020-13-45\n",
        "row 1: its value on line 1 is not YAML (month must be in 1..12).",
    ),
    "digits.yaml": (b"- prompt: x\n  seed: %s\n" % (b"1" * 5000), "row 1: its value on line 1 is not YAML (Exceeds"),
    "hex.yaml": (
        b"- prompt: x\n  seed: 0x%s\n" % (b"f" * 5000),
        "row 1: Recipe is invalid: seed is an integer of about",
    ),
    "stamp.yaml": (b"- prompt: x\n  seed: !!timestamp abc\n", "row 1: its value on line 1 is not YAML"),
    "ring.yaml": (b"- &a [*a]\n", "has an alias on line 1 that stands for no complete value."),
}
"""Manifests by name, with a part of what is printed."""

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "strip.png"

COMMANDS = {
    "seeds": (["batch", "--prompts", "x", "--seeds", f"1:{10**18}"], "There are 1,000,000,000,000,000,000 seeds"),
    "digits of seeds": (["batch", "--prompts", "x", "--seeds", "1" * 5000], "seeds are '1111"),
    "prompt": (["generate", "a \udcff"], "prompt is 'a \\\\udcff', which has half a surrogate pair"),
    "style": (["generate", "x", "--style", "s" * 300], "ssss"),
    "output": (["generate", "x", "-o", "o" * 300 + ".png"], "has more than 255 bytes"),
    "blocks": (["generate", "x", "--style", "ink.png", "--blocks", "b" * 10_000], "ink.png does not exist"),
    "adapter": (["convert", "s" * 300, "out.safetensors"], "There is no adapter file sss"),
    "reproduce": (["reproduce", "p" * 300], "does not exist"),
    "axis": (["sweep", "x", "--x", "scale=1e999999:2e999999:1"], "A range is '1e999999:2e999999:1'"),
    "probe": (["generate", "x", "--style", str(PICTURE), "--blocks", "p" * 300 + ".json"], "File name too long"),
}
"""Words of the command by what is wrong with them, with a part of what is printed."""


def check(code: int, out: str, err: str, expected: str) -> None:
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert expected.replace("\\\\", "\\") in err
    lines = err.splitlines()
    assert len(lines) <= 2
    assert lines[-1].startswith("instantstyle: ")
    assert max(map(len, lines)) < 900


@pytest.mark.parametrize("name", FILES)
def test_a_manifest_that_is_not_accepted_ends_in_short_lines(run, tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    done = run("batch", name, "--steps", 1)
    check(done.code, done.out, done.err, expected)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_are_not_accepted_end_in_a_short_line(run, tmp_path, name):
    words, expected = COMMANDS[name]
    done = run(*words)
    check(done.code, done.out, done.err, expected)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_process_ends_with_exit_code_2(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "instantstyle", "batch", name, "--steps", "1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    check(done.returncode, done.stdout, done.stderr, expected)
    assert os.listdir(tmp_path) == [name]


def test_at_most_a_hundred_invalid_rows_are_printed(run, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"prompt": 1}\n' * 1000)
    done = run("batch", "jobs.jsonl")
    assert done.code == 2
    lines = done.err.splitlines()
    assert len(lines) == 102
    assert lines[-2:] == [
        "and 900 more",
        "instantstyle: jobs.jsonl: 1000 of 1000 rows are invalid; no image was generated.",
    ]
