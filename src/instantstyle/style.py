"""A style: what was seen in the reference, kept apart from the words that are to be taken out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from jaxtyping import Float
from torch import Tensor

from .clipspace import CONTENT_SCALE, check_removal, mix, remove
from .errors import StyleError

COMBINATIONS = ("average", "concat")


@dataclass(frozen=True, eq=False, repr=False)
class Style:
    """One or more references made reusable.

    Picture and content embeddings stay apart, so that the removal can be retuned without the picture;
    `embedding()` puts them together.
    """

    image_embeds: Float[Tensor, "refs *features dim"]
    """Raw projected embeddings [refs dim]; for Plus and full adapters patch features [refs patches dim]."""
    unconditional: Float[Tensor, "*features dim"]
    """What stands for 'no picture' beside them: zeros, or the patch features of an all-zero picture."""
    weights: tuple[float, ...] = (1.0,)
    """How much each reference counts; only their proportions matter."""
    combine: str = "average"
    """`average`: one embedding, the weighted mean; `concat`: each reference's tokens side by side."""
    content: tuple[str, ...] = ()
    content_embeds: Float[Tensor, "phrases dim"] | None = None
    content_scale: float = CONTENT_SCALE
    removal: str = "subtract"
    name: str = "reference"
    encoder: str = "CLIP"

    def __post_init__(self) -> None:
        check_removal(self.removal)
        if self.combine not in COMBINATIONS:
            raise StyleError(f"combine cannot be {self.combine!r}; it is one of {', '.join(COMBINATIONS)}.")
        if len(self.weights) != len(self.image_embeds):
            raise StyleError(
                f"{len(self.image_embeds)} references have {len(self.weights)} weights; give one for each."
            )
        if not (min(self.weights) >= 0 and 0 < sum(self.weights) < inf):
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
    def of_patches(self) -> bool:
        """Whether it is for an adapter on patch features, among which words have no place."""
        return self.image_embeds.ndim == 3

    def embedding(self) -> Float[Tensor, "*features dim"]:
        """The references' weighted mean with the content taken out."""
        return self._cleaned(mix(self.image_embeds, self.weights))

    def embeddings(self) -> Float[Tensor, "seen *features dim"]:
        """What goes through the adapter: the mean alone, or where `combine` is concat each reference."""
        if self.combine == "concat":
            return self._cleaned(self.image_embeds)
        return self.embedding()[None]

    def _cleaned(self, embeds: Float[Tensor, "*features dim"]) -> Float[Tensor, "*features dim"]:
        if self.content_embeds is None:
            return embeds
        return remove(embeds, self.content_embeds, self.content_scale, self.removal)

    def check_removable(self) -> None:
        """`StyleError` if no content can be taken out of this."""
        if self.of_patches:
            raise StyleError(
                f"Content cannot be removed from {self.name}: it is made of patch features, "
                "and words have no embedding among those. Use a base adapter (not Plus, not full)."
            )

    def with_content(
        self,
        content: Sequence[str],
        content_embeds: Float[Tensor, "phrases dim"],
        content_scale: float | None = None,
        removal: str | None = None,
    ) -> "Style":
        """The same references with these words removed instead of any earlier ones."""
        self.check_removable()
        if content_embeds.shape[-1] != self.dim:
            raise StyleError(
                f"The content's embedding is {content_embeds.shape[-1]} wide, {self.name}'s is {self.dim}: "
                "they come from different CLIPs. Use the text tower that was trained with the image tower."
            )
        return replace(self, content=tuple(content), content_embeds=content_embeds).tuned(
            content_scale, removal
        )

    def tuned(self, content_scale: float | None = None, removal: str | None = None) -> "Style":
        """The same, its content removed by another amount or in another way; None leaves as it is."""
        return replace(
            self,
            content_scale=self.content_scale if content_scale is None else content_scale,
            removal=self.removal if removal is None else removal,
        )

    def __repr__(self) -> str:
        """`Style(ink.png − "a cat" × 0.5, CLIP-1280)`."""
        words = " + ".join(f'"{phrase}"' for phrase in self.content)
        words = f"({words})" if len(self.content) > 1 else words
        sign = {"subtract": "−", "project": "⊥"}[self.removal]
        removed = f" {sign} {words} × {self.content_scale:g}" if self.content else ""
        return f"Style({self.name}{removed}, {self.encoder})"
