"""What a style is made of: references as a CLIP saw them, and the words that are to be taken out of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from .content_removal import CLEAN, CONTENT_SCALES, check_removal, remove, weighted_mean

COMBINATIONS = ("average", "concat")


@dataclass(frozen=True, eq=False, repr=False)
class Ingredients:
    """Picture and content embeddings, kept apart; `embedding()` puts them together."""

    image_embeds: Float[Tensor, "refs *features dim"]
    """Raw projected embeddings [refs dim]; for Plus and full adapters patch features [refs patches dim].

    Of what is only bound to a network: none, [0 0].
    """
    unconditional: Float[Tensor, "*features dim"]
    """What stands for 'no picture' beside them: zeros, or the patch features of an all-zero picture."""
    weights: tuple[float, ...] = (1.0,)
    """How much each reference counts; only their proportions matter."""
    combine: str = "average"
    """`average`: one embedding, the weighted mean; `concat`: each reference's tokens side by side."""
    content: tuple[str, ...] = ()
    content_embeds: Float[Tensor, "phrases dim"] | None = None
    content_scale: float = CONTENT_SCALES["subtract"]
    """How much is taken out, 0 nothing; of the words' embedding, of the elements they mark, of the tail."""
    removal: str = "subtract"
    name: str = "reference"
    encoder: str = "CLIP"
    encoder_fingerprint: str = ""
    """Of the image encoder that saw the references; empty where nobody knows."""

    def __post_init__(self) -> None:
        check_removal(self.removal)
        if self.combine not in COMBINATIONS:
            raise StyleError(f"combine cannot be {self.combine!r}; it is one of {', '.join(COMBINATIONS)}.")
        if len(self.weights) != len(self.image_embeds):
            raise StyleError(
                f"{len(self.image_embeds)} references have {len(self.weights)} weights; give one for each."
            )
        if self.has_ingredients and not (min(self.weights) >= 0 and 0 < sum(self.weights) < inf):
            raise StyleError(
                f"Weights of references are {self.weights}; none may be negative or endless, and not all 0."
            )
        if self.combine == "concat" and len(set(self.weights)) > 1:
            raise StyleError(
                f"Weights {self.weights} have no meaning for tokens side by side; combine='average' weighs."
            )

    @property
    def dim(self) -> int:
        return self.image_embeds.shape[-1]

    @property
    def uses_patch_features(self) -> bool:
        """Whether it is for an adapter on patch features, among which words have no place."""
        return self.image_embeds.ndim == 3

    @property
    def has_ingredients(self) -> bool:
        """Whether the references' embeddings are there, to be retuned, mixed and bound anew."""
        return len(self.image_embeds) > 0

    @property
    def uses_token_cleaning(self) -> bool:
        """Whether content is taken out of the tokens, by no words (`cleaning`)."""
        return self.removal == CLEAN and self.content_scale != 0

    def embedding(self) -> Float[Tensor, "*features dim"]:
        """The references' weighted mean with the content taken out."""
        self.check_ingredients()
        return self._cleaned(weighted_mean(self.image_embeds, self.weights))

    def embeddings(self) -> Float[Tensor, "seen *features dim"]:
        """What goes through the adapter: the mean alone, or where `combine` is concat each reference."""
        self.check_ingredients()
        if self.combine == "concat":
            return self._cleaned(self.image_embeds)
        return self.embedding()[None]

    def _cleaned(self, embeds: Float[Tensor, "*features dim"]) -> Float[Tensor, "*features dim"]:
        if self.content_embeds is None:
            return embeds
        return remove(embeds, self.content_embeds, self.content_scale, self.removal)

    def check_ingredients(self) -> None:
        """`StyleError` if nothing but keys and values is there."""
        if not self.has_ingredients:
            raise StyleError(
                f"{self.name} is only bound: its embeddings were left out, and without them it can be drawn "
                "with and mixed with others of its kind, and nothing else. Make it anew from its pictures."
            )

    def check_removable(self) -> None:
        """`StyleError` if no content can be taken out of this."""
        self.check_ingredients()
        if self.uses_patch_features:
            raise StyleError(
                f"Content cannot be removed from {self.name}: it is made of patch features, "
                "and words have no embedding among those. Use a base adapter (not Plus, not full)."
            )

    @property
    def removal_settings(self) -> tuple[float, str]:
        """How much is taken out, and how."""
        return self.content_scale, self.removal

    @property
    def label(self) -> str:
        """Its name, and what is taken out of it: `ink.png − "a cat" × 0.5`."""
        removed = self.removed_label
        sign = {"subtract": "−", "project": "⊥", "mask": "∖", CLEAN: "−"}[self.removal]
        return self.name + (f" {sign} {removed} × {self.content_scale:g}" if removed else "")

    @property
    def removed_label(self) -> str:
        """What is taken out of it: `"a cat"`, `("a cat" + "a mat")`, `its tail`; empty where nothing is.

        A style that is cleaned keeps the words that were taken out before, to be retuned.
        """
        if self.removal == CLEAN:
            return "its tail"
        words = " + ".join(f'"{phrase}"' for phrase in self.content)
        return f"({words})" if len(self.content) > 1 else words


def mixed(parts: Sequence[tuple[Ingredients, float]]) -> dict[str, Any]:
    """Fields of Σ wᵢeᵢ / Σ wᵢ, each eᵢ with its content taken out; the sum is made in the order given.

    Where all have the same content the references go in side by side, and the removal can still be retuned;
    else each part goes in as one picture that is cleaned already.
    """
    _check_alike([part for part, _ in parts])
    first = parts[0][0]
    common = {"unconditional": first.unconditional, "encoder": first.encoder}
    common |= {"encoder_fingerprint": first.encoder_fingerprint}
    if first.uses_token_cleaning:
        common |= {"content_scale": first.content_scale, "removal": first.removal}
    if not all(_same_content(part, first) for part, _ in parts):
        embeds = torch.stack([part.embedding() for part, _ in parts])
        return {**common, "image_embeds": embeds, "weights": tuple(weight for _, weight in parts)}
    removed = {name: getattr(first, name) for name in _REMOVED}
    shares = [weight * one / sum(part.weights) for part, weight in parts for one in part.weights]
    embeds = torch.cat([part.image_embeds for part, _ in parts])
    return {**common, **removed, "image_embeds": embeds, "weights": tuple(shares)}


_REMOVED = ("content", "content_embeds", "content_scale", "removal")


def _same_content(one: Ingredients, other: Ingredients) -> bool:
    if one.content_embeds is None or other.content_embeds is None:
        return one.content_embeds is other.content_embeds
    told = [(part.content, *part.removal_settings) for part in (one, other)]
    return told[0] == told[1] and one.content_embeds.equal(other.content_embeds)


def _check_alike(parts: Sequence[Ingredients]) -> None:
    """What was seen by different encoders lies in different spaces; what is cleaned is no embedding."""
    first = parts[0]
    for part in parts:
        part.check_ingredients()
        if (
            part.uses_token_cleaning or first.uses_token_cleaning
        ) and part.removal_settings != first.removal_settings:
            raise StyleError(
                f"{part.label} and {first.label} cannot be mixed: clean acts on the tokens of the whole mix; "
                "tune all of them to it by one amount, or none."
            )
        if part.combine == "concat" and len(part.image_embeds) > 1:
            raise StyleError(
                f"{part.label} lays tokens side by side, of which no mean is made; combine='average'."
            )
        if part.image_embeds.shape[1:] != first.image_embeds.shape[1:] or is_foreign(part, first):
            raise StyleError(
                f"{part.label} and {first.label} were seen by different image encoders ({_seen_by(part)} and "
                f"{_seen_by(first)}) and cannot be mixed; make both with one."
            )


def is_foreign(one: Ingredients, other: Ingredients) -> bool:
    """Whether they are known to have been seen by different encoders."""
    marks = {one.encoder_fingerprint, other.encoder_fingerprint}
    return len(marks) > 1 and "" not in marks


def _seen_by(part: Ingredients) -> str:
    return f"{part.encoder} {part.encoder_fingerprint}".strip()
