"""Every `instantstyle …` line of the documentation is a valid command."""

import shlex

import typer

from instantstyle.cli import app

from .documentation import PAGES, Example, find_examples


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
    commands = [command for page in PAGES for example in find_examples(page) for command in example.commands]
    ours = [command for command in commands if command.startswith("instantstyle ")]
    assert len(ours) > 50
    assert {command: error for command in ours if (error := find_error(command))} == {}


def test_this_check_can_fail():
    example = Example(PAGES[0], 1, "sh", 'instantstyle generate "a sailboat" \\\n  --stile ink.png\n')
    [command] = example.commands
    assert "No such option" in (find_error(command) or "")
    assert find_error("instantstyle paint") == "no command 'paint'"
