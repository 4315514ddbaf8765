"""Ledgers with changed bytes end with all rows drawn, or with a typed error in one short line."""

import os
import random
from functools import partial
from pathlib import Path

import pytest

from instantstyle.batch import Ledger, generate_rows

from ..helpers import find_offence
from .stub_backend import StubBackend, make_rows

LEDGERS = 500
"""Number of ledgers in the slow tier."""

FEW = 40
"""Number of ledgers in every run."""

SECONDS = 10
"""Largest processor time for one ledger; the slowest need a tenth of a second."""

MESSAGE = 400
"""Largest number of characters of an error, beside the path of the ledger."""

ROWS = make_rows(6)

NUMBERS = (b"\0" * 100, b"\xff" * 9, b"\x7f" + b"\xff" * 7, b"1" * 400, b"NaN", b"1e999")

TEXTS = (b"waiting", b"drawn", b"failed", b"float32", b'{"a":' * 300, b"\xed\xa0\x80", b"\\ud800", b"../" * 20)

TOKENS = (*NUMBERS, *TEXTS, b"CREATE VIEW rows AS SELECT")
"""Parts that SQLite, JSON or this package treat in a special way."""


def mutate(generator: random.Random, valid: bytes) -> bytes:
    """Change a file in one to four places; mostly without a change of its length, which SQLite's pages depend on."""
    data = bytearray(valid)
    for _ in range(generator.randint(1, 4)):
        place, length = generator.randrange(len(data)), generator.randrange(1, 200)
        match generator.randrange(8):
            case 0 | 1 | 2:
                data[place] = generator.randrange(256)
            case 3 | 4:
                token = generator.choice(TOKENS)
                data[place : place + len(token)] = token
            case 5:
                other = generator.randrange(len(data))
                data[place : place + length] = data[other : other + length]
            case 6:
                del data[generator.randrange(1, len(data)) :]
            case _:
                # The header, and the page of the schema.
                data[generator.randrange(min(len(data), 700))] = generator.randrange(256)
    return bytes(data)


def run_into(folder: Path) -> str | None:
    """Run into a folder; returns which rows are not drawn, None if all are."""
    with Ledger.open(folder) as ledger:
        ledger.add_rows(ROWS, 2)
        ledger.retry_failed(ROWS)
        list(generate_rows(ledger, ROWS, StubBackend()))
        states = ledger.states(ROWS)
    return None if {state for state, _ in states.values()} == {"drawn"} else f"not all rows are drawn: {states}"


def check_run(folder: Path) -> str | None:
    """Run into a folder, and describe what should not have happened."""
    return find_offence(partial(run_into, folder), seconds=SECONDS, message=MESSAGE, hidden=str(folder))


def fuzz(folder: Path, count: int, seed: int) -> None:
    """Run into copies of an interrupted batch whose ledger is changed."""
    with Ledger.open(folder) as ledger:
        ledger.add_rows(ROWS, 2)
        list(generate_rows(ledger, ROWS[:3], StubBackend(bad="thing 2")))
    valid = (folder / "ledger.sqlite").read_bytes()
    images = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert check_run(folder) is None
    generator, offences = random.Random(seed), []
    for number in range(count):
        for path in folder.iterdir():
            path.unlink()
        for name, data in images.items():
            (folder / name).write_bytes(data)
        data = mutate(generator, valid)
        (folder / "ledger.sqlite").write_bytes(data)
        if offence := check_run(folder):
            offences.append(f"{number}: {offence}")
        names = {row.file for row in ROWS} | {"ledger.sqlite", "ledger.lock"}
        offences += [f"{number}: wrote {name}" for name in os.listdir(folder) if not name.startswith(tuple(names))]
    assert not offences, "\n".join(offences)


def test_some_mutated_ledgers_end_with_a_result_or_a_typed_error(folder):
    fuzz(folder, FEW, seed=1)


@pytest.mark.slow
def test_many_mutated_ledgers_end_with_a_result_or_a_typed_error(folder):
    fuzz(folder, LEDGERS, seed=0)
