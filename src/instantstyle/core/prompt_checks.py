"""Hints on prompts that have no effect, or not all of it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import PromptWarning
from ..utils.text import shorten


def warn_of_prompts(
    pipe: object, prompt: str | Sequence[str] | None, explain: Callable[[str], str | None] | None
) -> None:
    """Warn the caller of a call of prompts that have no effect, once for each finding, with a `PromptWarning`.

    Args:
        pipe: The pipeline, for its tokenizer.
        prompt: One prompt or several; None where the caller passes `prompt_embeds`.
        explain: As in `describe_prompt`.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    hints = (describe_prompt(each, getattr(pipe, "tokenizer", None), explain) for each in prompts)
    for hint in dict.fromkeys(hints):
        if hint is not None:
            warnings.warn(hint, PromptWarning, stacklevel=3)


def describe_prompt(prompt: str, tokenizer: Any, explain: Callable[[str], str | None] | None = None) -> str | None:
    """Say what of a prompt has no effect.

    Args:
        prompt: The prompt.
        tokenizer: The tokenizer of the first text encoder; None checks no length.
        explain: Returns one line where the model knows no word of the prompt, else None.

    Returns:
        One line, or None where all of the prompt acts.
    """
    if not prompt.strip():
        return "The prompt is empty: the image shows what the model generates without words."
    unread = find_unread_text(prompt, tokenizer)
    if unread:
        return f"The prompt is too long for the text encoder, which does not read its end: {shorten(unread)}."
    return None if explain is None else explain(prompt)


def find_unread_text(text: str, tokenizer: Any) -> str:
    """Return the end of a text that a tokenizer cuts off at its limit; empty if it cuts nothing.

    Args:
        text: The text.
        tokenizer: A tokenizer of transformers with `model_max_length`; None cuts nothing.
    """
    limit = getattr(tokenizer, "model_max_length", None)
    # A word has one token or more; transformers sets 10³⁰ where a tokenizer has no limit.
    if limit is None or limit > 10_000 or len(text) < limit // 4:
        return ""
    tokens = tokenizer(text, truncation=False, verbose=False).input_ids
    # The last token within the limit is the end token.
    return tokenizer.decode(tokens[limit - 1 : -1]) if len(tokens) > limit else ""
