"""Warnings of content that a model does not know."""

from typing import TYPE_CHECKING

from ..errors import PromptWarning
from ..recipe import Recipe
from ..utils.caller_warnings import warn_caller

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle


def warn_of_content(styled: "InstantStyle", recipe: Recipe) -> None:
    """Warn of content that the model does not know, with a `PromptWarning` for each."""
    explain = styled.explain_prompt
    for hint in [] if explain is None else filter(None, map(explain, recipe.content)):
        warn_caller(hint, PromptWarning)
