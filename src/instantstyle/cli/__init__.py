"""The `instantstyle` command: one file per verb; the only place that prints or exits.

Verbs import what they need when they run, so that `--help` and every refusal are instant.
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
from .console import complain, hush_libraries

app = typer.Typer(
    name="instantstyle",
    help="The style of a picture without its subject (InstantStyle, arXiv 2404.02733).",
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
    # A verb of its own kind reads words otherwise: `--styles a.png b.png`.
    app.command(_verb.__name__.rpartition(".")[2], cls=getattr(_verb, "COMMAND", None))(_verb.run)
app.add_typer(styles.app, name="styles")


def main() -> None:
    """Run the command; what a visitor got wrong is one line and exit code 2, a bug of ours a traceback."""
    hush_libraries()
    try:
        app()
    except InstantStyleError as fault:
        complain(fault)
        sys.exit(2)
