"""The text encoder of a CLIP or a SigLIP, which shares the embedding space of the image encoder."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import PromptWarning, StyleError
from ..utils.caller_warnings import warn_caller
from ..utils.device import execution_device
from .prompt_checks import find_unread_text

TEXT_ENCODERS = {
    768: "openai/clip-vit-large-patch14",
    1024: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    1152: "google/siglip-so400m-patch14-384",
    1280: "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
"""Repositories of the text encoder that shares an image encoder's space, by the width of the projection."""


class TextEncoder:
    """A `CLIPTextModelWithProjection`, or a `SiglipTextModel`, and its tokenizer.

    Raises:
        StyleError: The model has no projection.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.is_siglip = getattr(getattr(model, "config", None), "model_type", None) == "siglip_text_model"
        if getattr(model, "text_projection", None) is None and not self.is_siglip:
            raise StyleError(
                f"The text encoder is a {type(model).__name__}, which has no projection to a shared space; "
                "pass a CLIPTextModelWithProjection, or a SiglipTextModel, and its tokenizer."
            )
        self.model = model
        self.tokenizer = tokenizer

    @property
    def projection_dim(self) -> int:
        """Width of the embeddings."""
        config = self.model.config
        return config.projection_size if self.is_siglip else config.projection_dim

    @torch.no_grad()
    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "phrases dim"]:
        """Compute raw projected embeddings, not normalised, in float32 on the CPU.

        A token of a textual inversion with several vectors stands for all of them, as in a prompt. Words beyond the
        encoder's limit have no effect, and a `PromptWarning` says which.
        """
        texts = [expand_inverted_tokens(phrase, self.tokenizer) for phrase in phrases]
        for text in texts:
            if unread := find_unread_text(text, self.tokenizer):
                warn_caller(f"Content is too long for the text encoder; unread: {unread}.", PromptWarning)
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.model.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        output = self.model(tokens.input_ids.to(execution_device(self.model)))
        return (output.pooler_output if self.is_siglip else output.text_embeds).float().cpu()


def expand_inverted_tokens(text: str, tokenizer: Any) -> str:
    """Write the further vectors of a textual inversion behind its token, `<x> <x>_1 <x>_2`, as diffusers does.

    Args:
        text: Words.
        tokenizer: A tokenizer, to which `pipe.load_textual_inversion` may have added tokens.
    """
    added: Mapping[str, int] = getattr(tokenizer, "added_tokens_encoder", {})
    for token in {token for token in added if f"{token}_1" in added}:
        further = itertools.takewhile(added.__contains__, (f"{token}_{number}" for number in itertools.count(1)))
        text = text.replace(token, " ".join([token, *further]))
    return text


def find_text_encoder(pipe: object, embedding_dim: int) -> TextEncoder | None:
    """Return the pipeline's `text_encoder_2` if it projects to a space of this width, else None."""
    model, tokenizer = getattr(pipe, "text_encoder_2", None), getattr(pipe, "tokenizer_2", None)
    if tokenizer is None or getattr(model, "text_projection", None) is None:
        return None
    encoder = TextEncoder(model, tokenizer)
    return encoder if encoder.projection_dim == embedding_dim else None


def missing_text_encoder_error(embedding_dim: int, advice: str = "") -> StyleError:
    """Build the error for words to remove without a text encoder.

    Args:
        embedding_dim: Width of the image encoder's embeddings.
        advice: What to do instead; empty for the encoder to load, which only Python can pass.
    """
    needs = (
        f"Removing content needs the text encoder that shares the image encoder's space, of width {embedding_dim}, "
        "and the pipeline has none. "
    )
    if advice:
        return StyleError(needs + advice)
    known = TEXT_ENCODERS.get(embedding_dim)
    model = "SiglipTextModel" if known and "siglip" in known else "CLIPTextModelWithProjection"
    which = f"; for this width that is {known}" if known else ""
    return StyleError(f"{needs}Pass text_encoder=({model}, tokenizer){which}.")
