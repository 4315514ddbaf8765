"""Errors and warnings of recipes in the words of a command: options where other faces have fields."""

import re
import warnings
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from copy import copy
from typing import Any

from ..errors import InstantStyleError, RequestWarning


@contextmanager
def reword_messages(reword: Callable[[str], str]) -> Generator[None]:
    """Change this package's errors, and its warnings of requests, inside the `with` block; their classes stay.

    Args:
        reword: Called with a message, returns the one that is raised or shown.
    """
    with warnings.catch_warnings():
        show_other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *args: Any, **options: Any) -> None:
            if issubclass(category, RequestWarning):
                message = category(reword(str(message)))
            show_other(message, category, *args, **options)

        warnings.showwarning = show
        try:
            yield
        except InstantStyleError as error:
            text = reword(str(error))
            if text == str(error):
                raise
            reworded = copy(error)
            reworded.args = (text,)
            raise reworded from error


def name_options(message: str, options: Collection[str]) -> str:
    """Name the options of a command in a message about its recipe.

    Fields that are words of the language too, such as `references`, stay as they are; so do those whose options have
    the same name with hyphens.

    Args:
        message: The message.
        options: Names of the command's options, as in `RECIPE_OPTIONS`.
    """
    from ..recipe import FIELD_ALIASES
    from .recipe_options import RECIPE_OPTIONS

    flags = {
        field: RECIPE_OPTIONS[name].flag for name, field in FIELD_ALIASES.items() if name in options and "_" in field
    }
    if not flags:
        return message
    # Some messages name both.
    return re.sub(rf"\b({'|'.join(flags)})\b(?! \(--)", lambda match: flags[match[1]], message)
