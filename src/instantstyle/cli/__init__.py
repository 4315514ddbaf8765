"""The `instantstyle` command: one file per verb; the only place that prints or exits.

Verbs import what they need when they run, so that `--help` and early errors need no seconds of imports.
"""

import sys

import typer

from ..errors import InstantStyleError
from . import (
    batch,
    blocks,
    convert,
    demo,
    doctor,
    evaluate,
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
)
from .console import print_error, silence_libraries

app = typer.Typer(
    name="instantstyle",
    help="Style transfer without content leakage (InstantStyle, arXiv 2404.02733).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_VERBS = (
    generate,
    restyle,
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
    version,
)
for _verb in _VERBS:
    # `COMMAND` is set by verbs that parse their words in another way: `--styles a.png b.png`.
    app.command(_verb.__name__.rpartition(".")[2], cls=getattr(_verb, "COMMAND", None))(_verb.run)
app.add_typer(styles.app, name="styles")


def main() -> None:
    """Run the command.

    A user's error (`InstantStyleError`) is printed in one line and exits with 2; other exceptions pass.
    """
    silence_libraries()
    try:
        app()
    except InstantStyleError as error:
        print_error(error)
        sys.exit(2)
