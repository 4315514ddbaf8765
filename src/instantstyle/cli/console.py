"""Output of the command: results on stdout, everything else on stderr, a progress bar only on a terminal."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..errors import RequestWarning
from ..utils.text import cut, one_line

MAX_LINE_LENGTH = 10_000
"""Largest number of characters of a message; the tensors that an adapter lacks are listed in one."""


def print_error(error: Exception) -> None:
    """Print an error to stderr, in one line."""
    print(f"instantstyle: {cut(one_line(error), MAX_LINE_LENGTH)}", file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning to stderr, in one line."""
    print(f"instantstyle: warning: {cut(one_line(text), MAX_LINE_LENGTH)}", file=sys.stderr)


@contextmanager
def print_request_warnings() -> Iterator[None]:
    """Print each `RequestWarning` inside the block as a line of `warn`, once; hide deprecations in libraries."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *args: Any, **options: Any) -> None:
        if not issubclass(category, RequestWarning):
            show_other(message, category, *args, **options)
        elif str(message) not in shown:
            shown.add(str(message))
            warn(str(message))

    with warnings.catch_warnings():
        show_other = warnings.showwarning
        warnings.simplefilter("always", RequestWarning)
        # diffusers (0.42) builds Chroma with a class that it deprecates itself.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.showwarning = show
        yield


def note(text: str) -> None:
    """Print a line to stderr."""
    print(cut(one_line(text), MAX_LINE_LENGTH), file=sys.stderr)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout: aligned on a terminal, separated by tabs in a pipe.

    Args:
        columns: Titles of the columns.
        rows: Cells, as many in each row as there are columns.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_json(value: object) -> None:
    """Print a value to stdout as JSON, indented by two spaces."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def format_size(size: int) -> str:
    """Format a number of bytes in decimal units: '6.9 GB', '21 MB', '205 kB'."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_each:
            amount = size / bytes_each
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{size / 1000:.0f} kB"


def silence_libraries() -> None:
    """Limit the logs of diffusers, transformers and huggingface_hub to errors.

    Call this before they are imported. Environment variables that are already set take precedence.
    """
    for library in ("DIFFUSERS", "TRANSFORMERS", "HF_HUB"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


@contextmanager
def progress(
    runs: int = 1, unit: str = "steps", *, each: int = 1, lines: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on stderr if it is a terminal; elsewhere print lines, if requested.

    Args:
        runs: Number of runs that the bar covers.
        unit: What is counted.
        each: Number of units in a step.
        lines: Whether to print a line for each tenth of the work where there is no terminal.

    Yields:
        A function to call after each step with the steps done and the steps of one run; None if there is
        no terminal and no line is to be printed.
    """
    if not sys.stderr.isatty():
        yield partial(_note_tenths, unit, each) if lines else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("generating", total=None)
        yield lambda done, steps: bar.update(task, advance=each, total=steps * runs * each)


def _note_tenths(unit: str, each: int, done: int, total: int) -> None:
    """Print a line when another tenth of the work is done."""
    if done * 10 // total > (done - 1) * 10 // total:
        note(f"{done * each} of {total * each} {unit}")
