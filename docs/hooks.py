"""Hooks of MkDocs: the options of every command, links from pages to source files, and a check of footnotes."""

import re
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from instantstyle.cli import app

COMMANDS = "<!-- commands -->"
"""Where a page lists all commands."""

_SOURCE_LINK = re.compile(r"\[(`?[^\]`]+`?)\]\((?:\.\./)+src/[^)]*\)")


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert the commands, and turn links to files outside of the site into their names."""
    return _SOURCE_LINK.sub(r"\1", markdown.replace(COMMANDS, describe_commands()))


def on_page_content(html: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Refuse a page with footnotes that were not rendered."""
    if found := find_plain_footnotes(html):
        raise PluginError(f"{page.file.src_uri} has footnotes that were not rendered: {', '.join(found)}.")
    return html


def find_plain_footnotes(html: str) -> list[str]:
    """Find references to footnotes that are text of a page, outside of code."""
    text = re.sub(r"<(code|pre)\b.*?</\1>", "", html, flags=re.DOTALL)
    return sorted(set(re.findall(r"\[\^[\w-]+\]", text)))


def describe_commands() -> str:
    """Describe every command of `instantstyle` with its arguments and options, in Markdown."""
    root = typer.main.get_command(app)
    return "\n\n".join(_describe(command, f"instantstyle {name}") for name, command in _list_commands(root))


def _list_commands(group: Any) -> list[tuple[str, Any]]:
    """List the commands of a group by their names, those of groups within it included."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += [(f"{name} {inner}", each) for inner, each in _list_commands(command)]
        elif not command.hidden:
            found.append((name, command))
    return found


def _describe(command: Any, name: str) -> str:
    rows = [_describe_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    help_text = _escape((command.help or "").replace("\b", "").strip())
    return f"## {name}\n\n{help_text}\n\n| option | meaning |\n|---|---|\n" + "\n".join(rows)


def _describe_parameter(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    meaning = " ".join(_escape(getattr(parameter, "help", None) or "").split())
    needed = " (required)" if parameter.required else ""
    return f"| {', '.join(f'`{each}`' for each in names)} | {meaning.replace('|', chr(92) + '|')}{needed} |"


def _escape(text: str) -> str:
    """Escape what Markdown would read as HTML."""
    return text.replace("<", "&lt;")
