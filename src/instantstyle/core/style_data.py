"""What a style is made of: its ingredients and their settings, the embeddings that follow from them, and checks."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import get_args

from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError, suggest_nearest
from ..recipe_types import WORDLESS, Fuse, Reference
from ..utils.text import shorten
from .bound_style import BoundKeyValues
from .colour_texture import Texture, blend_colour_and_texture, subtract_mean
from .content_removal import (
    CLEAN,
    CLEANSTYLE,
    CONTENT_SCALES,
    check_mask_quantile,
    check_removal,
    remove,
    weighted_mean,
)
from .encoder_files import EncoderIdentity
from .image_encoder import ImageEncoder
from .style_contents import ContentKind
from .style_mixing import checked_weights
from .style_source import StyleSource

COMBINATIONS = ("average", "concat", "subtract")


@dataclass(frozen=True, eq=False, repr=False)
class StyleData:
    """The fields of a style, what follows from them alone, and their checks.

    Fields that do not fit together raise `StyleError`.
    """

    image_embeds: Float[Tensor, "refs *features dim"]
    """Raw projected embeddings [refs dim]; for Plus and full adapters patch features [refs patches dim]. A style that
    is only bound has none, [0 0]."""
    unconditional: Float[Tensor, "*features dim"]
    """The unconditional input of the adapter: zeros, or the patch features of an all-zero image."""
    weights: tuple[float, ...] = (1.0,)
    """Weight of each reference; only their proportions matter."""
    combine: str = "average"
    """`average`: one embedding, the weighted mean; `concat`: the tokens of all references side by side; `subtract`:
    the first reference minus the mean of the others."""
    content: tuple[str, ...] = ()
    """Words for what the references show, or names of pictures of it, which are removed."""
    content_embeds: Float[Tensor, "phrases *features dim"] | None = None
    content_scale: float = CONTENT_SCALES["subtract"]
    """How much is removed, 0 for nothing: of the words' embedding, of the elements they mark, or of the tail."""
    removal: str = "subtract"
    """`subtract`, `project`, `mask`, `clean` or `cleanstyle`."""
    name: str = "reference"
    encoder: str = "CLIP"
    encoder_fingerprint: str = ""
    """Fingerprint of the image encoder; empty if it is unknown."""
    crop: str = "center"
    """How the references were made square."""
    thumbnail: bytes = b""
    """A small JPEG of the references."""
    author: str = ""
    licence: str = ""
    notes: str = ""
    bindings: tuple[BoundKeyValues, ...] = ()
    """Keys and values, at most once for each family of networks."""
    source: StyleSource | None = None
    """The files that it was made from, for recipes; None if unknown."""
    mask_quantile: float | None = None
    """The share of elements that `mask` keeps; None separates two clusters."""
    content_kinds: tuple[ContentKind, ...] = ()
    """What each entry of `content` is; empty if all are words."""
    content_files: tuple[Reference | None, ...] = ()
    """The file of each picture in `content`, for recipes; empty if none is known."""
    grey_embeds: Float[Tensor, "refs *features dim"] | None = None
    """Embeddings of the references made grey, which `blend` needs; None if they are not kept."""
    texture: Texture | None = None
    """Whose texture takes the place of the references', of which the colours are used; None for all of their style."""
    tuned_for: str | None = None
    """How its maker joined it to the text's attention, a value of `fuse`: a call that does otherwise warns. None for
    any."""
    removed_from_parts: tuple[str, ...] = ()
    """For a mix, the parts from which content was removed before they were mixed: `ink.png − "a cat" × 0.5`."""
    adapter: str = ""
    """Name of the adapter that it was made for, of those of one pipeline; empty for the first. Not saved."""

    def __post_init__(self) -> None:
        check_removal(self.removal, self.content_scale)
        check_mask_quantile(self.mask_quantile, self.removal)
        if self.combine not in COMBINATIONS:
            near = suggest_nearest(str(self.combine), COMBINATIONS)
            raise StyleError(f"combine cannot be {self.combine!r}; it is one of {', '.join(COMBINATIONS)}.{near}")
        if self.tuned_for not in (None, *get_args(Fuse)):
            raise StyleError(
                f"tuned_for is {shorten(self.tuned_for)}; it is None or a value of fuse: {', '.join(get_args(Fuse))}."
            )
        object.__setattr__(self, "weights", checked_weights(self.weights, len(self.image_embeds)))
        if self.combine == "concat" and len(set(self.weights)) > 1:
            raise StyleError(f"Weights {self.weights} have no meaning for tokens side by side; use combine='average'.")
        if self.combine == "subtract" and self.has_ingredients and (len(self.weights) < 2 or not self.weights[0]):
            raise StyleError(
                f"combine='subtract' subtracts the mean of other references from the first, and has weights "
                f"{self.weights}; give two references or more, and the first a weight above 0."
            )
        self._check_greys()
        if not self.has_ingredients and not self.bindings:
            raise StyleError("A style needs a reference, or keys and values; this one has neither.")

    def _check_greys(self) -> None:
        grey, texture = self.grey_embeds, self.texture
        if grey is not None and grey.shape != self.image_embeds.shape:
            raise StyleError(
                f"Embeddings of grey images {list(grey.shape)} do not fit those of the images "
                f"{list(self.image_embeds.shape)}; they have one each, of one encoder."
            )
        if texture is None:
            return
        checked_weights(texture.weights, len(texture.embeds))
        if grey is None or self.combine != "average" or texture.embeds.shape[1:] != self.image_embeds.shape[1:]:
            raise StyleError(
                "A blend needs averaged references with their grey embeddings, and a texture of the same encoder; "
                "make it with Style.blend."
            )

    @property
    def dim(self) -> int:
        """Width of the embeddings or patch features."""
        return self.image_embeds.shape[-1]

    @property
    def uses_patch_features(self) -> bool:
        """Whether the style is for an adapter on patch features, from which words cannot be removed."""
        return self.image_embeds.ndim == 3

    @property
    def has_ingredients(self) -> bool:
        """Whether the embeddings are present, so that the style can be changed, mixed and bound."""
        return len(self.image_embeds) > 0

    @property
    def uses_token_cleaning(self) -> bool:
        """Whether content is removed from the tokens, without words."""
        return self.removal == CLEAN and self.content_scale != 0

    @property
    def cleanstyle_scale(self) -> float:
        """The content scale of CleanStyle's method; 0 for another removal."""
        return self.content_scale if self.removal == CLEANSTYLE else 0.0

    @property
    def removed_label(self) -> str:
        """What is removed, `"a cat"`, `("a cat" + "a mat")` or `its tail`; empty without content."""
        if self.removal in WORDLESS:
            return "its tail"
        kinds = self.content_kinds or ("words",) * len(self.content)
        named = zip(self.content, kinds, strict=True)
        words = " + ".join(f'"{phrase}"' if kind == "words" else phrase for phrase, kind in named)
        return f"({words})" if len(self.content) > 1 else words

    @property
    def label(self) -> str:
        """Name and what is removed, `ink.png − "a cat" × 0.5`."""
        sign = {"subtract": "−", "project": "⊥", "mask": "∖"}.get(self.removal, "−")
        removed = self.removed_label
        return self.name + (f" {sign} {removed} × {self.content_scale:g}" if removed else "")

    def embeddings(self) -> Float[Tensor, "used *features dim"]:
        """Return what the adapter reads, content removed: each reference for `concat`, else the mean."""
        if self.combine != "concat":
            return self.embedding()[None]
        self.check_ingredients()
        return self._without_content(self.image_embeds)

    def embedding(self) -> Float[Tensor, "*features dim"]:
        """Return the references as one embedding, blended and with the content removed."""
        self.check_ingredients()
        if self.combine == "subtract":
            return self._without_content(subtract_mean(self.image_embeds, self.weights))
        embed = weighted_mean(self.image_embeds, self.weights)
        if self.texture is not None and self.grey_embeds is not None:
            grey, other = weighted_mean(self.grey_embeds, self.weights), self.texture
            texture = weighted_mean(other.embeds, other.weights)
            embed = blend_colour_and_texture(embed, grey, texture, other.colour_scale, other.texture_scale)
        return self._without_content(embed)

    def _without_content(self, embeds: Float[Tensor, "*features dim"]) -> Float[Tensor, "*features dim"]:
        if self.content_embeds is None:
            return embeds
        return remove(embeds, self.content_embeds, self.content_scale, self.removal, self.mask_quantile)

    def check_encoder(self, encoder: ImageEncoder | EncoderIdentity) -> None:
        """Raise `StyleError` if the style was made with another encoder than this one, as far as that is known."""
        if self.encoder_fingerprint not in ("", encoder.fingerprint):
            raise StyleError(
                f"{self!r} was made with another image encoder ({self.encoder} {self.encoder_fingerprint}) than the "
                f"one here ({encoder.name} {encoder.fingerprint}); make it with this one, or bind it there."
            )

    def check_read_by(self, reads_embedding: bool, width: int) -> None:
        """Check that an adapter reads embeddings of this kind and width.

        Args:
            reads_embedding: Whether the adapter reads the pooled embedding of an image, or patch features.
            width: Width of what it reads.

        Raises:
            StyleError: It does not, or the style has keys and values only.
        """
        self.check_ingredients()
        needed, found = (not reads_embedding, width), (self.uses_patch_features, self.dim)
        if found != needed:
            needs, has = (
                f"{'patch features' if patches else 'an embedding'} of width {width}"
                for patches, width in (needed, found)
            )
            raise StyleError(f"{self!r} is {has}; the adapter needs {needs}. Make it with this adapter's encoder.")

    def check_ingredients(self) -> None:
        """Raise `StyleError` if the style has keys and values only."""
        if not self.has_ingredients:
            raise StyleError(
                f"{self.name} is bound only: without embeddings it can generate and be mixed with styles bound alike, "
                "but not be changed. Make it again from its reference images."
            )

    def check_removable(self, *, is_words: bool = True, removal: str = "subtract") -> None:
        """Raise `StyleError` if words, or pictures in this way, cannot be removed from the style."""
        self.check_ingredients()
        if self.uses_patch_features and is_words:
            raise StyleError(
                f"Content cannot be removed from {self.name}: it consists of patch features, "
                "and words have no embedding among those. Pass a picture of the content, or use a base adapter."
            )
        if self.uses_patch_features and removal != "subtract":
            raise StyleError(
                f"From {self.name}, which consists of patch features, a picture can be subtracted only; removal is "
                f"{removal!r}."
            )

    def __repr__(self) -> str:
        """`Style(ink.png − "a cat" × 0.5, CLIP-1280)`, with `for plus` of a further adapter and `bound for sdxl`."""
        families = " and ".join(bound.family for bound in self.bindings)
        adapter = f", for {self.adapter}" if self.adapter else ""
        return f"Style({self.label}, {self.encoder}{adapter}{f', bound for {families}' if families else ''})"

    def _repr_html_(self) -> str:
        """Thumbnail and ingredients, for notebooks."""
        image = (
            f'<img alt="" src="data:image/jpeg;base64,{b64encode(self.thumbnail).decode()}">' if self.thumbnail else ""
        )
        return f"<figure>{image}<figcaption>{escape(repr(self))}</figcaption></figure>"
