"""Captions for training, which of a picture's facts each one names, and the tokenizer that reads them."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers.pre_tokenizers import ByteLevel
from torch import Generator, Tensor
from transformers import CLIPTokenizer

from instantstyle.metrics import facts_of
from instantstyle.synthetic import (
    FILLS,
    GROUNDS,
    LAYOUTS,
    OUTLINES,
    THINGS,
    Scenes,
    colour_name,
    look_words,
    thing_words,
)
from instantstyle.synthetic.captions import COLOURS
from instantstyle.synthetic.looks import BODY, GROUND, Looks
from training.mini.settings import WORDS

FACTS = {
    "thing": THINGS,
    "layout": LAYOUTS,
    "ground": GROUNDS,
    "fill": FILLS,
    "outline": OUTLINES,
    "body": COLOURS,
    "behind": COLOURS,
}
"""What a caption can name, and the kinds of each; body and behind are the colours of thing and ground."""

END = "</w>"  # marks a word's last piece
_OF_LOOK = torch.tensor([name not in ("thing", "layout") for name in FACTS])


@dataclass(frozen=True)
class Captions:
    words: list[str]
    facts: Int[Tensor, "picture fact"]
    """What the picture shows, in FACTS' order."""
    named: Bool[Tensor, "picture fact"]
    """Which of these the words say."""

    def matches(self) -> Bool[Tensor, "caption picture"]:
        """Whether a caption is true of a picture: everything it names is so there."""
        same = self.facts[:, None] == self.facts[None]
        return (same | ~self.named[:, None]).all(-1)


def describe(scenes: Scenes, generator: Generator, *, thing: float, layout: float, look: float) -> Captions:
    """One caption a scene; `thing`, `layout` and `look` are how often each is named.

    The thing always is where the look is not, and the layout only where the thing is.
    """
    often = torch.tensor([[thing], [layout], [look]])
    says_thing, says_layout, says_look = torch.rand(3, len(scenes), generator=generator) < often
    says_thing = says_thing | ~says_look
    named = torch.where(_OF_LOOK.to(says_look.device), says_look[:, None], says_thing[:, None])
    named[:, 1] = says_layout & says_thing
    read, said = scenes.to("cpu"), named.cpu()  # row by row, a GPU would be waited for at every word
    words = [_words(read, row, said[row]) for row in range(len(scenes))]
    return Captions(words, shown(scenes), named)


def shown(scenes: Scenes) -> Int[Tensor, "picture fact"]:
    """What the pictures show, in FACTS' order."""
    body, behind = _colours(scenes.look, BODY), _colours(scenes.look, GROUND)
    return torch.stack([*facts_of(scenes).values(), body, behind], 1)


def _colours(looks: Looks, part: int) -> Int[Tensor, " picture"]:
    """The names, as places in COLOURS, of one of each palette's colours."""
    return torch.tensor([COLOURS.index(colour_name(*colour)) for colour in looks.palette[:, part].tolist()])


def _words(scenes: Scenes, row: int, named: Bool[Tensor, " fact"]) -> str:
    says_thing, says_layout, says_look, *_ = named.tolist()
    layout = int(scenes.layout.kind[row]) if says_layout else 0
    parts = [thing_words(int(scenes.thing[row]), layout)] if says_thing else []
    return ", ".join(parts + ([look_words(scenes.look, row)] if says_look else []))


@cache
def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with byte-pair merges learnt from the world's words."""
    letters = sorted(ByteLevel.alphabet())
    merges = byte_pairs({word for phrase in every_phrase() for word in re.findall(r"\w+", phrase)})
    pieces = [*letters, *(letter + END for letter in letters), *("".join(pair) for pair in merges)]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: place for place, piece in enumerate(pieces + specials)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=WORDS)


def byte_pairs(words: set[str]) -> list[tuple[str, str]]:
    """Merges until every word is one piece, the most frequent pair first, ties by the alphabet.

    Sennrich et al., arXiv 1508.07909. Our own twenty lines, since the library's trainer breaks ties
    differently at every run.
    """
    split = [[*word[:-1], word[-1] + END] for word in sorted(words)]
    merges = []
    while pairs := Counter(pair for word in split for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [merged(word, best) for word in split]
    return merges


def merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    """The word's pieces with this pair made one, wherever it occurs."""
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def every_phrase() -> list[str]:
    """All words the captions are made of, in their phrases."""
    places = product(range(len(THINGS)), range(len(LAYOUTS)))
    things = [thing_words(thing, layout) for thing, layout in places]
    looks = [f"{fill} with {outline}" for fill, outline in product(FILLS, OUTLINES)]
    return things + looks + [f"{a} on {ground} {b}" for a, ground, b in product(COLOURS, GROUNDS, COLOURS)]


def save_tokenizer(folder: Path) -> None:
    tokenizer().save_pretrained(folder)


def tokens(words: list[str]) -> Int[Tensor, "caption word"]:
    """Token numbers, padded to WORDS."""
    read = tokenizer()(words, padding="max_length", truncation=True, max_length=WORDS, return_tensors="pt")
    return read.input_ids.to(torch.get_default_device())
