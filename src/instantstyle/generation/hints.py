"""Hints on a recipe that is generated, but probably not as intended: for Python as warnings, for pages as texts."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PromptWarning
from ..recipe import Recipe
from ..utils.caller_warnings import warn_caller

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..core.style import Style


def find_hints(styled: "InstantStyle", recipe: Recipe, style: "Style | None" = None) -> tuple[str, ...]:
    """Find what of a recipe has no effect, or probably another one than intended.

    A call of the model warns of most of it by `RequestWarning`, and of what only its steps and guidance tell.

    Args:
        styled: The model.
        recipe: The recipe.
        style: The style of its references; None if there are none, or it is not encoded yet.

    Returns:
        A line for each finding on prompt, content, size and the colours of a blend.
    """
    from ..core.prompt_checks import describe_prompt, describe_size
    from ..core.style_blending import describe_grey

    hints: list[str | None] = []
    # An image to start from shows what the result shows, and has the size of the model.
    if recipe.prompt.strip() or recipe.image is None:
        hints.append(describe_prompt(recipe.prompt, getattr(styled.pipe, "tokenizer", None), styled.explain_prompt))
    hints += _find_content_hints(styled, recipe)
    if recipe.image is None:
        hints.append(describe_size(styled.pipe, recipe.height, recipe.width))
    if style is not None and style.texture is not None:
        hints.append(describe_grey(style, " + ".join(Path(file.name).name for file in recipe.references)))
    return tuple(dict.fromkeys(hint for hint in hints if hint))


def warn_of_content(styled: "InstantStyle", recipe: Recipe) -> None:
    """Warn of content that the model does not know, with a `PromptWarning` for each."""
    for hint in _find_content_hints(styled, recipe):
        warn_caller(hint, PromptWarning)


def _find_content_hints(styled: "InstantStyle", recipe: Recipe) -> list[str]:
    explain = styled.explain_prompt
    return [] if explain is None else [hint for phrase in recipe.content if (hint := explain(phrase))]
