"""The `instantstyle` command: one file per verb; the only place that prints or exits.

Verbs import what they need when they run, so that `--help` and early errors need no seconds of imports.
"""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import InstantStyleError
from . import (
    animate,
    batch,
    blocks,
    convert,
    demo,
    doctor,
    evaluate,
    explain,
    generate,
    mix,
    models,
    probe,
    recipe,
    reproduce,
    restyle,
    serve,
    studio,
    style,
    styles,
    sweep,
    version,
    words,
)
from .command import VerbCommand, format_examples
from .console import print_error, print_request_warnings, silence_libraries

app = typer.Typer(
    name="instantstyle",
    help="Style transfer without content leakage (InstantStyle, arXiv 2404.02733).",
    epilog=format_examples(['instantstyle generate "a rocket" --style ink.png -o rocket.png', "instantstyle words"]),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_VERBS = (
    generate,
    restyle,
    animate,
    batch,
    serve,
    studio,
    style,
    mix,
    demo,
    probe,
    evaluate,
    sweep,
    models,
    doctor,
    blocks,
    convert,
    recipe,
    reproduce,
    explain,
    words,
    version,
)
for _verb in _VERBS:
    # `COMMAND` is set by verbs that parse their words in another way: `--styles a.png b.png`.
    app.command(
        _verb.__name__.rpartition(".")[2],
        cls=getattr(_verb, "COMMAND", VerbCommand),
        epilog=format_examples(_verb.EXAMPLES),
    )(_verb.run)
app.add_typer(styles.app, name="styles")


def _print_version(given: bool) -> bool:
    if given:
        print(f"instantstyle {__version__}")
        raise typer.Exit
    return given


@app.callback()
def _main(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command.

    A user's error (`InstantStyleError`) and what the operating system reports (`OSError`: a file that cannot be
    opened, a name that is too long) are printed in one line and exit with 2; other exceptions pass.
    """
    silence_libraries()
    try:
        with print_request_warnings():
            app()
    except (InstantStyleError, OSError) as error:
        print_error(error)
        sys.exit(2)
