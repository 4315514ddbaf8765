"""Every `instantstyle …` line of the documentation is a valid command."""

import re
import shlex
from pathlib import Path

import typer

from instantstyle.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


def find_commands(text: str) -> list[str]:
    """Find the `instantstyle` lines of a document's code blocks, with continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in map(str.strip, lines) if re.match(r"(\$ )?instantstyle ", line)]


def find_error(command: str) -> str | None:
    """Parse a command without running it; returns the error if it is invalid."""
    words = shlex.split(command, comments=True)[1:]
    parser = typer.main.get_command(app)
    try:
        while commands := getattr(parser, "commands", None):
            if words[0] not in commands:
                return f"no command {words[0]!r}"
            parser, words = commands[words[0]], words[1:]
        parser.make_context(parser.name, words, resilient_parsing=False)
    except Exception as error:
        return str(error) or repr(error)
    return None


def test_every_documented_command_is_valid():
    commands = [command for path in DOCUMENTS for command in find_commands(path.read_text())]
    assert len(commands) > 50
    assert {command: error for command in commands if (error := find_error(command))} == {}


def test_this_check_can_fail():
    text = '```sh\n$ instantstyle generate "a rocket" \\\n  --stile ink.png\n```\n'
    [command] = find_commands(text)
    assert "No such option" in (find_error(command) or "")
    assert find_error("instantstyle paint") == "no command 'paint'"
