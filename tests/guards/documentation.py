"""The examples of README and docs: code blocks in `sh` and `python`, and the reasons for those that do not run.

A comment on the line above a block marks one that the tests do not run, and says why:

    <!-- not run by the tests: needs SDXL's weights -->
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LANGUAGES = ("sh", "python")

_FENCE = re.compile(
    r"^(?:[ ]*<!-- not run by the tests: (?P<reason>[^\n]*) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>[a-z]*)\n(?P<source>.*?)^(?P=indent)```$",
    flags=re.DOTALL | re.MULTILINE,
)
_HEREDOC = re.compile(r"<<-?'?(\w+)'?")


@dataclass(frozen=True)
class Example:
    """A code block of a page."""

    page: Path
    line: int
    """Line of the page in which the source begins, from 1."""
    language: str
    source: str
    reason: str | None = None
    """Why the tests do not run it; None if they do."""

    @property
    def commands(self) -> list[str]:
        """The commands of a block in `sh`; comments, continued lines and here-documents belong to one command."""
        return list(_split_commands(self.source)) if self.language == "sh" else []


class Outcome(Protocol):
    code: int
    out: str
    err: str


class ExampleFailed(AssertionError):
    """An example failed; the message has its page, line and error."""


def find_examples(page: Path) -> list[Example]:
    """Find the code blocks of a page in any language, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Example(
            page,
            text.count("\n", 0, match.start("source")) + 1,
            match["language"],
            dedent(match["source"]),
            match["reason"],
        )
        for match in _FENCE.finditer(text)
    ]


def _split_commands(source: str) -> Iterator[str]:
    lines = iter(source.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        command = line
        while command.endswith("\\"):
            command = command.removesuffix("\\") + next(lines)
        if end := _HEREDOC.search(command):
            for row in lines:
                command += f"\n{row}"
                if row == end[1]:
                    break
        yield command


def run_examples(examples: Sequence[Example], run: Callable[..., Outcome]) -> str:
    """Run examples in order in the current folder, except those that are marked.

    All blocks in `python` share their names. `instantstyle` runs in this process, because each new one would
    import PyTorch again; every other command runs in Bash.

    Args:
        examples: Examples of one page.
        run: Runs `instantstyle` with words.

    Returns:
        What the commands printed to stdout and stderr.

    Raises:
        ExampleFailed: An example raises, or exits with another code than 0.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for example in examples:
        if example.reason or example.language not in LANGUAGES:
            continue
        try:
            if example.language == "python":
                exec(compile(example.source, str(example.page), "exec"), names)
            for command in example.commands:
                printed += _run_command(command, run)
        except Exception as error:
            where = f"{example.page.name}, line {example.line}"
            raise ExampleFailed(f"{where}:\n{indent(example.source, '    ')}{error}") from error
    return printed


def _run_command(command: str, run: Callable[..., Outcome]) -> str:
    words = shlex.split(command, comments=True)
    if words[0] == "instantstyle":
        done = run(*words[1:])
        code, printed = done.code, done.out + done.err
    else:
        bash = subprocess.run(["bash", "-e", "-c", command], capture_output=True, text=True, check=False)
        code, printed = bash.returncode, bash.stdout + bash.stderr
    if code:
        raise ExampleFailed(f"{command!r} exits with {code}: {printed}")
    return printed
