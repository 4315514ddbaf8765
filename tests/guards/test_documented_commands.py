"""Every `instantstyle …` line of the documents is one that the command understands."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from instantstyle.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


def commands(text: str) -> list[str]:
    """The `instantstyle` lines of a document's code blocks, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.removeprefix("$ ") for line in map(str.strip, lines) if re.match(r"(\$ )?instantstyle ", line)
    ]


def parse(command: str) -> None:
    """Parse as the command would, without running the verb; raises or exits where it does not understand."""
    words = shlex.split(command, comments=True)[1:]
    group = typer.main.get_command(app)
    verb = group.commands[words[0]]  # pyright: ignore[reportAttributeAccessIssue]
    while hasattr(verb, "commands"):
        words = words[1:]
        verb = verb.commands[words[0]]
    verb.make_context(words[0], words[1:], resilient_parsing=False)


DOCUMENTED = [command for path in DOCUMENTS for command in commands(path.read_text())]


@pytest.mark.parametrize("command", DOCUMENTED)
def test_a_documented_command_is_understood(command):
    parse(command)


def test_this_check_sees_commands_and_can_fail():
    text = '```sh\n$ instantstyle generate "a rocket" \\\n  --stile ink.png\n```\n'
    [command] = commands(text)
    with pytest.raises(Exception, match="No such option"):
        parse(command)
