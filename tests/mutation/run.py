"""Change the code of the method in many places, run the tests that execute it, and list the changes that pass.

    make mutation                                        # all of it, for hours
    python -m tests.mutation.run --mutants 150 --minutes 60 -o tests/mutation/results.json
    python -m tests.mutation.page                        # docs/mutation.md from the results

First the tests run once, to know which of them execute each line. Each mutant is then made in a copy of the repository
and meets the tests of its line in a process of its own, at most `MOST_TESTS`; those of the module's own test file come
first. A mutant that none of them notices *survives*.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coverage import CoverageData

from .mutants import ROOT, Mutant, list_mutants

WORK = ROOT / "build" / "mutation"
TESTS = ("tests/core", "tests/dit", "tests/test_recipe.py")
"""The tests that mutants meet."""
MOST_TESTS = 20
LONGEST = 300
"""Seconds after which the tests of a mutant are stopped; it is then *killed*, as by a loop without an end."""


def measure_coverage() -> Path:
    """Run the tests once; returns the file that says which of them execute each line."""
    file = WORK / "coverage"
    if not file.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        options = ["--cov=instantstyle", "--cov-context=test", "--cov-report=", "-m", "not slow", "-q", "-n", "2"]
        environment = {**os.environ, "COVERAGE_FILE": str(part), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "pytest", *options, *TESTS], cwd=ROOT, env=environment, check=True)
        part.replace(file)
    return file


def find_tests(data: CoverageData, mutant: Mutant) -> list[str]:
    """Return the tests that execute the line of a mutant, those of its module's own file first."""
    contexts = data.contexts_by_lineno(str(ROOT / mutant.module)).get(mutant.line, [])
    found = sorted({context.partition("|")[0] for context in contexts if context})
    own = f"test_{mutant.module.stem}.py"
    return sorted(found, key=lambda test: (own not in test, test))[:MOST_TESTS]


def make_copy(number: int) -> Path:
    """Copy the repository for one worker."""
    copy = WORK / f"copy-{number}"
    shutil.rmtree(copy, ignore_errors=True)
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", "*.jpg")
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


def run_tests(mutant: Mutant, tests: Sequence[str], copy: Path) -> str:
    """Run tests on a mutant; returns `killed`, `survived` or `not executed`."""
    if not tests:
        return "not executed"
    file = copy / mutant.module
    source = file.read_text()
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    file.write_text(mutant.change(source))
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        file.write_text(source)
    return "survived" if done.returncode == 0 else "killed"


def run_mutants(mutants: Sequence[Mutant], minutes: float) -> list[dict[str, Any]]:
    """Test mutants one after another until the time is over; returns a row for each."""
    data = CoverageData(str(measure_coverage()))
    data.read()
    copy, end, rows = make_copy(0), time.monotonic() + 60 * minutes, []
    for mutant in mutants:
        if time.monotonic() > end:
            break
        outcome = run_tests(mutant, find_tests(data, mutant), copy)
        place = f"{mutant.module.relative_to('src/instantstyle')}:{mutant.line}"
        rows.append(dict(place=place, operator=mutant.operator, outcome=outcome))
        if outcome != "killed":
            rows[-1]["diff"] = mutant.diff((ROOT / mutant.module).read_text())
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Test a random sample of mutants and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, help="size of the sample; default: all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="time after which no further one begins")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("tests/mutation/results.json"))
    args = parser.parse_args(arguments)
    everything = list_mutants()
    sample = random.Random(args.seed).sample(everything, args.mutants or len(everything))
    rows = run_mutants(sample, args.minutes)
    result = dict(mutants=len(everything), sample=len(sample), seed=args.seed, most_tests=MOST_TESTS, tested=rows)
    args.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
