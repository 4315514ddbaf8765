"""How the command speaks: results on stdout, all else on stderr, a bar only where somebody watches."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def complain(fault: Exception) -> None:
    """One line, whatever the message held."""
    print(f"instantstyle: {' '.join(str(fault).split())}", file=sys.stderr)


def warn(text: str) -> None:
    print(f"instantstyle: warning: {text}", file=sys.stderr)


def note(text: str) -> None:
    print(text, file=sys.stderr)


def gigabytes(size: int) -> str:
    """Bytes as files are measured: '6.9 GB', '21 MB', '205 kB'."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_each:
            share = size / bytes_each
            return f"{share:.1f} {unit}" if share < 10 else f"{share:.0f} {unit}"
    return f"{size / 1000:.0f} kB"


def hush_libraries() -> None:
    """Before they load: their advice on optional parts is for programmers. Who wants it sets the variable."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


@contextmanager
def progress(times: int = 1, unit: str = "steps") -> Iterator[Callable[[int, int], None] | None]:
    """Where stderr is a terminal, a bar over `times` runs, to be told of each step; elsewhere None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing", total=None)
        yield lambda done, steps: bar.update(task, advance=1, total=steps * times)
