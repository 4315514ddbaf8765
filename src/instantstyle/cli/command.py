"""How every verb parses its words and prints its help: examples, and advice where words cannot be parsed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

from ..errors import JobError


class VerbCommand(TyperCommand):
    """A command that says how several values of an option are written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        # typer brings its own copy of click, whose `UsageError` has no public name.
        except Exception as error:
            message = getattr(error, "message", "")
            if isinstance(message, str) and "unexpected extra argument" in message:
                setattr(error, "message", message + self.advise(words))  # noqa: B010 - unknown to pyright
            raise

    def advise(self, words: Sequence[str]) -> str:
        """Advise on an option that is followed by several values; empty if there is none."""
        return _advise(words, {flag for param in self.params if _is_list(param) for flag in param.opts})


class PromptsCommand(VerbCommand):
    """A command that takes several prompts with `--shared` only: others are words without quotes, or of an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        rest = super().parse_args(ctx, args)
        prompts = ctx.params.get("prompt") or ()
        if len(prompts) > 1 and ctx.params["shared"] is None:
            advice = self.advise(words) or (
                " Put one of several words in quotes; give several the look of the first with --shared, or generate "
                "each alone by `instantstyle batch --prompts`."
            )
            raise JobError(f"There are {len(prompts)} prompts.{advice}")
        return rest


class ListCommand(VerbCommand):
    """A command whose list options take several words: `--styles a.png b.png`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_list_flags(args))


LISTS = ("--styles", "--prompts", "--arms")
"""Flags that take several words in a `ListCommand`."""


def repeat_list_flags(args: Sequence[str]) -> list[str]:
    """Write `--styles a b` as `--styles a --styles b`, which is what typer parses."""
    out: list[str] = []
    flag = None
    for word in args:
        if word.startswith("-"):
            flag = word if word in LISTS else None
            out += [] if flag else [word]
        else:
            out += [flag, word] if flag else [word]
    return out


def format_examples(examples: Sequence[str]) -> str:
    """Format command lines for the end of a help text."""
    # rich starts a new line at an empty one only.
    return "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *(f"  {line}" for line in examples)])


def _advise(words: Sequence[str], repeatable: Iterable[str]) -> str:
    """Advise on an option that is followed by several values, if there is one."""
    for flag, values in _group_values(words):
        if flag in repeatable and len(values) > 1:
            return f" Repeat {flag} for each value: {' '.join(f'{flag} {_quote(value)}' for value in values[:3])}"
    return ""


def _group_values(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag with the words behind it."""
    starts = [place for place, word in enumerate(words) if word.startswith("-")]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        yield words[start], list(words[start + 1 : end])


def _quote(value: str) -> str:
    return f'"{value}"' if " " in value else value


def _is_list(param: Any) -> bool:
    return bool(getattr(param, "multiple", False))
