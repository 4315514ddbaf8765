"""Change the code of the method in many places, run the tests that execute it, and list the changes that pass.

    make mutation                                        # all of it, for hours
    python -m tests.mutation.run --mutants 150 --minutes 60 -o tests/mutation/results.json
    python -m tests.mutation.page                        # docs/mutation.md from the results

First the tests run once, to know which of them execute each line. Each mutant is then made in a copy of the repository
and meets tests of its line in a process of its own, at most `MOST_TESTS`; see `LineTests.find`. A mutant that none of
them notices *survives*.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401
import pytest
import torch
import transformers.models.clip  # noqa: F401
from coverage import CoverageData

# Imported once here, as torch, transformers and Hypothesis, and not by each child.
from diffusers import AnimateDiffPipeline, FluxPipeline, StableDiffusionXLPipeline  # noqa: F401

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


class LineTests:
    """The tests that execute each line, from the coverage of a run."""

    def __init__(self, data: CoverageData) -> None:
        self.data = data
        self.sizes = Counter[str]()
        """Number of lines that each test executes."""
        for file in data.measured_files():
            for contexts in data.contexts_by_lineno(file).values():
                self.sizes.update(_name_tests(contexts))

    def find(self, mutant: Mutant) -> list[str]:
        """Return tests that execute the line of a mutant, at most `MOST_TESTS`.

        A line that runs only when its module is imported, such as a default or a constant, meets the tests that
        execute any other line of the module.

        Returns:
            The first half are those of the module's own file and, of the others, those that execute the fewest lines,
            which check what is near. The rest are drawn at random from all files.
        """
        lines = self.data.contexts_by_lineno(str(ROOT / mutant.module))
        names = _name_tests(lines.get(mutant.line, []))
        if not names and mutant.line in lines:
            names = set[str]().union(*map(_name_tests, lines.values()))
        found = sorted(names)
        random.Random(0).shuffle(found)
        own = f"test_{mutant.module.stem}.py"
        near = sorted(found, key=lambda test: (own not in test, self.sizes[test]))[: MOST_TESTS // 2]
        return [*near, *(test for test in found if test not in near)][:MOST_TESTS]


def _name_tests(contexts: Iterable[str]) -> set[str]:
    """Return the tests of contexts such as `tests/a.py::test_b|run`; that of imports is empty."""
    return {context.partition("|")[0] for context in contexts if context}


def make_copy() -> Path:
    """Copy the repository, to change the copy."""
    copy = WORK / "copy"
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
    file.write_text(mutant.change(source))
    try:
        return "survived" if run_in_child(tests, copy) == 0 else "killed"
    finally:
        file.write_text(source)


class Passing:
    """Tests that pass in a child process without a mutant; only these can notice one."""

    def __init__(self, copy: Path) -> None:
        self.copy, self.known = copy, dict[str, bool]()

    def select(self, tests: Sequence[str]) -> list[str]:
        """Return the tests that pass, after running those that have not run yet."""
        new = [test for test in tests if test not in self.known]
        if new:
            passed = run_in_child(new, self.copy, stop=False) == 0
            for test in new:
                self.known[test] = passed or run_in_child([test], self.copy) == 0
        return [test for test in tests if self.known[test]]


def run_in_child(tests: Sequence[str], copy: Path, *, stop: bool = True) -> int | None:
    """Run tests of a copy of the repository in a child process, which has torch and diffusers from this one.

    Args:
        tests: Their ids.
        copy: Folder of the copy.
        stop: Whether to stop at the first that fails.

    Returns:
        pytest's exit status; None where the tests have not ended after `LONGEST` seconds.
    """
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nowhere:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere.fileno(), stream.fileno())
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")  # of processes that tests start
        sys.path[:0] = [str(copy / "src"), str(copy)]
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "instantstyle")]:
            del sys.modules[name]
        # pytest would rewrite assertions of plugins that this process has imported.
        options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        os._exit(int(pytest.main([*options, *(["-x"] if stop else []), *tests])))
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_mutants(mutants: Sequence[Mutant], minutes: float) -> list[dict[str, Any]]:
    """Test mutants one after another until the time is over; returns a row for each."""
    data = CoverageData(str(measure_coverage()))
    data.read()
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    copy, end, rows = make_copy(), time.monotonic() + 60 * minutes, []
    passing, line_tests = Passing(copy), LineTests(data)
    for mutant in mutants:
        if time.monotonic() > end:
            break
        outcome = run_tests(mutant, passing.select(line_tests.find(mutant)), copy)
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
    commit = subprocess.check_output(["git", "rev-parse", "--short=8", "HEAD"], cwd=ROOT, text=True).strip()
    settings = dict(sample=len(sample), minutes=args.minutes, seed=args.seed, most_tests=MOST_TESTS, commit=commit)
    result = dict(mutants=len(everything), **settings, tested=rows)
    args.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
