"""Captions for training, the attributes that each one states, and the tokenizer that reads them."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from tokenizers.pre_tokenizers import ByteLevel
from torch import Generator, Tensor
from transformers import CLIPTokenizer

from instantstyle.metrics import attribute_labels
from instantstyle.synthetic import (
    FILLS,
    GROUNDS,
    LAYOUTS,
    OUTLINES,
    THINGS,
    Scenes,
    describe_look,
    describe_thing,
    name_colour,
)
from instantstyle.synthetic.captions import COLOURS
from instantstyle.synthetic.looks import BODY, GROUND, Looks
from training.mini.settings import MAX_TOKENS

ATTRIBUTES = {
    "thing": THINGS,
    "layout": LAYOUTS,
    "ground": GROUNDS,
    "fill": FILLS,
    "outline": OUTLINES,
    "body": COLOURS,
    "behind": COLOURS,
}
"""What a caption can state, and the classes of each; body and behind are the colours of object and ground."""

END = "</w>"  # marks the last piece of a word
_IS_LOOK = torch.tensor([name not in ("thing", "layout") for name in ATTRIBUTES])


@dataclass(frozen=True)
class Captions:
    """Captions of a batch of scenes.

    Attributes:
        texts: One caption for each image.
        labels: Class of each attribute that the image shows, in the order of `ATTRIBUTES`.
        stated: Which of these attributes the caption states.
    """

    texts: list[str]
    labels: Int[Tensor, "image attribute"]
    stated: Bool[Tensor, "image attribute"]

    def matches(self) -> Bool[Tensor, "caption image"]:
        """Return whether each caption is true of each image: every attribute that it states holds there."""
        same = self.labels[:, None] == self.labels[None]
        return (same | ~self.stated[:, None]).all(-1)


def sample_captions(scenes: Scenes, generator: Generator, *, thing: float, layout: float, look: float) -> Captions:
    """Write one caption for each scene.

    The object is always stated where the look is not, and the layout only where the object is.

    Args:
        scenes: The scenes to describe.
        generator: Source of random numbers.
        thing: Probability of stating the object.
        layout: Probability of stating the layout.
        look: Probability of stating the look.

    Returns:
        The captions.
    """
    probabilities = torch.tensor([[thing], [layout], [look]])
    has_thing, has_layout, has_look = torch.rand(3, len(scenes), generator=generator) < probabilities
    has_thing = has_thing | ~has_look
    stated = torch.where(_IS_LOOK.to(has_look.device), has_look[:, None], has_thing[:, None])
    stated[:, 1] = has_layout & has_thing
    on_cpu, rows = scenes.to("cpu"), stated.cpu()  # read item by item, a GPU would synchronise at every word
    texts = [_caption_text(on_cpu, row, rows[row]) for row in range(len(scenes))]
    return Captions(texts, scene_labels(scenes), stated)


def scene_labels(scenes: Scenes) -> Int[Tensor, "image attribute"]:
    """Return the class of each attribute that the images show, in the order of `ATTRIBUTES`."""
    body, behind = _colour_classes(scenes.look, BODY), _colour_classes(scenes.look, GROUND)
    return torch.stack([*attribute_labels(scenes).values(), body, behind], 1)


def _colour_classes(looks: Looks, part: int) -> Int[Tensor, " image"]:
    return torch.tensor([COLOURS.index(name_colour(*colour)) for colour in looks.palette[:, part].tolist()])


def _caption_text(scenes: Scenes, row: int, stated: Bool[Tensor, " attribute"]) -> str:
    has_thing, has_layout, has_look, *_ = stated.tolist()
    layout = int(scenes.layout.category[row]) if has_layout else 0
    parts = [describe_thing(int(scenes.thing[row]), layout)] if has_thing else []
    return ", ".join(parts + ([describe_look(scenes.look, row)] if has_look else []))


@cache
def build_tokenizer() -> CLIPTokenizer:
    """Build CLIP's tokenizer with byte-pair merges learned from the words of the synthetic dataset."""
    letters = sorted(ByteLevel.alphabet())
    merges = learn_merges({word for phrase in list_phrases() for word in re.findall(r"\w+", phrase)})
    pieces = [*letters, *(letter + END for letter in letters), *("".join(pair) for pair in merges)]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces + specials)}
    # transformers annotates `merges` as strings, but requires pairs.
    return CLIPTokenizer(vocab=vocab, merges=cast(Any, merges), model_max_length=MAX_TOKENS)


def learn_merges(words: set[str]) -> list[tuple[str, str]]:
    """Learn byte-pair merges (Sennrich et al., arXiv 1508.07909) until every word is one piece.

    The most frequent pair is merged first, ties in alphabetical order. The trainer of `tokenizers` is not
    used because it breaks ties differently at every run.

    Args:
        words: The words to learn from.

    Returns:
        Pairs of pieces in the order in which they are merged.
    """
    split = [[*word[:-1], word[-1] + END] for word in sorted(words)]
    merges = []
    while pairs := Counter(pair for word in split for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [apply_merge(word, best) for word in split]
    return merges


def apply_merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Join every occurrence of a pair of pieces in a word."""
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def list_phrases() -> list[str]:
    """List phrases that contain every word a caption can have."""
    combinations = product(range(len(THINGS)), range(len(LAYOUTS)))
    things = [describe_thing(thing, layout) for thing, layout in combinations]
    looks = [f"{fill} with {outline}" for fill, outline in product(FILLS, OUTLINES)]
    return things + looks + [f"{a} on {ground} {b}" for a, ground, b in product(COLOURS, GROUNDS, COLOURS)]


def save_tokenizer(folder: Path) -> None:
    """Save the tokenizer in transformers' format."""
    build_tokenizer().save_pretrained(folder)


def tokenize(texts: list[str]) -> Int[Tensor, "caption token"]:
    """Return token ids, padded to `MAX_TOKENS`, on the default device."""
    encoded = build_tokenizer()(
        texts, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    return encoded.input_ids.to(torch.get_default_device())
