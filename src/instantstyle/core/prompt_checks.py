"""Hints on prompts that have no effect, or not all of it, and on sizes far from the model's own."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import PromptWarning, SizeWarning, StyleError
from ..recipe_types import Fuse
from ..utils.caller_warnings import warn_caller
from ..utils.text import shorten
from .protocols import PipelineArguments, network_of

MAX_AREA_RATIO = 2.0
"""Ratio of the pixels of an image to those of the model's own size beyond which a hint is given."""

EMPTY_PROMPT = "The prompt is empty: the image shows what the model generates without words."
"""A hint that is none where an image to start from says what the result shows."""


def warn_of_call(
    pipe: object,
    prompt: str | Sequence[str] | None,
    arguments: PipelineArguments,
    explain: Callable[[str], str | None] | None,
    has_image: bool = False,
) -> None:
    """Warn the caller of a call of prompts that have no effect and of a size far from the model's own.

    Each finding is one `PromptWarning` or `SizeWarning`.

    Args:
        pipe: The pipeline.
        prompt: One prompt or several; None where the caller passes `prompt_embeds`.
        arguments: Arguments of the pipeline.
        explain: As in `describe_prompt`.
        has_image: Whether the image begins with another one, or follows it: that shows what a prompt would say, which
            may be empty.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    if has_image:
        prompts = [each for each in prompts if each.strip()]
    hints = (describe_prompt(each, getattr(pipe, "tokenizer", None), explain) for each in prompts)
    for hint in dict.fromkeys(hints):
        if hint is not None:
            warn_caller(hint, PromptWarning)
    if hint := describe_size(pipe, arguments.get("height"), arguments.get("width")):
        warn_caller(hint, SizeWarning)


def check_text_of_fuse(fuse: Fuse, prompts: Sequence[str]) -> None:
    """Check that there is text whose attention can take the statistics of a style's.

    Args:
        fuse: How the two are joined.
        prompts: The prompts.

    Raises:
        StyleError: It is `adain`, and a prompt is empty.
    """
    if fuse == "adain" and any(not prompt.strip() for prompt in prompts):
        raise StyleError(
            "fuse='adain' gives the attention of the text the statistics of the style's, and the prompt is empty; "
            "write what the image shows, or use fuse='add'."
        )


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
        return EMPTY_PROMPT
    unread = find_unread_text(prompt, tokenizer)
    if unread:
        return f"The prompt is too long for the text encoder, which does not read its end: {shorten(unread)}."
    return None if explain is None else explain(prompt)


def describe_size(pipe: Any, height: int | None, width: int | None) -> str | None:
    """Say that a size has far more or fewer pixels than the images that the model was trained on.

    Args:
        pipe: The pipeline.
        height: Height in px; None for the pipeline's default.
        width: Width in px; None for the pipeline's default.

    Returns:
        One line, or None for a size near the model's own, or where that is unknown.
    """
    if (height is None and width is None) or (own := find_own_size(pipe)) is None:
        return None
    own_width, own_height = own
    height, width = height or own_height, width or own_width
    if 1 / MAX_AREA_RATIO <= height * width / (own_height * own_width) <= MAX_AREA_RATIO:
        return None
    return (
        f"The model was trained on images of {own_width}×{own_height} px; of {width}×{height} px they are likely "
        "to be blurred, repeated or empty. Leave width and height out, or keep to about as many pixels."
    )


def find_own_size(pipe: Any) -> tuple[int, int] | None:
    """Return width and height in px of the images that a pipeline generates by default; None where it names none."""
    # Transformers of any size have none; their pipelines do.
    own_side: int | None = getattr(pipe, "default_sample_size", None)
    side: int | Sequence[int] | None = getattr(network_of(pipe).config, "sample_size", own_side)
    factor: int | None = getattr(pipe, "vae_scale_factor", None)
    if factor is None or side is None:
        return None
    parameters = inspect.signature(pipe.__call__).parameters
    own: list[int] = []
    for name, latent in zip(("height", "width"), (side, side) if isinstance(side, int) else side, strict=True):
        # A pipeline for panoramas has a default of its own.
        default = parameters[name].default if name in parameters else None
        own.append(default if isinstance(default, int) else latent * factor)
    return own[1], own[0]


def find_unread_text(text: str, tokenizer: Any) -> str:
    """Return the end of a text that a tokenizer cuts off at its limit; empty if it cuts nothing.

    Args:
        text: The text.
        tokenizer: A tokenizer of transformers with `model_max_length`; None cuts nothing.
    """
    limit = getattr(tokenizer, "model_max_length", None)
    # A character has at most four bytes, and so at most four tokens: a text of fewer characters than a quarter of the
    # limit fits. transformers sets 10³⁰ where a tokenizer has no limit.
    if limit is None or limit > 10_000 or len(text) < limit // 4:
        return ""
    tokens = tokenizer(text, truncation=False, verbose=False).input_ids
    # The last token within the limit is the end token.
    return tokenizer.decode(tokens[limit - 1 : -1]) if len(tokens) > limit else ""
