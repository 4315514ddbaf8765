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

from instantstyle.world import FILLS, GROUNDS, LAYOUTS, OUTLINES, THINGS, Scenes, colour_name, look_words, thing_words
from instantstyle.world.captions import COLOURS
from instantstyle.world.looks import BODY, GROUND
from training.mini.settings import WORDS

FACTS = dict(thing=THINGS, layout=LAYOUTS, ground=GROUNDS, fill=FILLS, outline=OUTLINES, body=COLOURS, behind=COLOURS)
END = "</w>"  # marks a word's last piece
_OF_LOOK = torch.tensor([name not in ("thing", "layout") for name in FACTS])


@dataclass(frozen=True)
class Captions:
    words: list[str]
    facts: Int[Tensor, "picture fact"]  # what the picture shows, in FACTS' order
    named: Bool[Tensor, "picture fact"]  # which of these the words say

    def matches(self) -> Bool[Tensor, "caption picture"]:
        """Whether a caption is true of a picture: everything it names is so there."""
        same = self.facts[:, None] == self.facts[None]
        return (same | ~self.named[:, None]).all(-1)


def describe(scenes: Scenes, generator: Generator, *, thing: float, layout: float, look: float) -> Captions:
    """One caption a scene; `thing`, `layout`, `look`: how often each is named (the thing always if nothing else is)."""
    says_thing, says_layout, says_look = torch.rand(3, len(scenes), generator=generator) < torch.tensor(
        [[thing], [layout], [look]]
    )
    says_thing = says_thing | ~says_look
    says_layout = says_layout & says_thing
    rows = range(len(scenes))
    palette = scenes.look.palette
    body, behind = ([COLOURS.index(colour_name(*palette[row, part].tolist())) for row in rows] for part in (BODY, GROUND))
    look_kinds = [scenes.look.ground, scenes.look.fill, scenes.look.outline]
    facts = [scenes.thing, scenes.layout.kind, *look_kinds, torch.tensor(body), torch.tensor(behind)]
    named = torch.where(_OF_LOOK, says_look[:, None], says_thing[:, None])
    named[:, 1] = says_layout
    words = [_words(scenes, row, named[row]) for row in rows]
    return Captions(words, torch.stack(facts, 1), named)


def _words(scenes: Scenes, row: int, named: Tensor) -> str:
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
    """Merges until every word is one piece, the most frequent pair first, ties by the alphabet (Sennrich 2016).

    Our own twenty lines, since the library's trainer breaks ties differently at every run.
    """
    split = [[*word[:-1], word[-1] + END] for word in sorted(words)]
    merges = []
    while pairs := Counter(pair for word in split for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [merged(word, best) for word in split]
    return merges


def merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def every_phrase() -> list[str]:
    """All words the captions are made of, in their phrases."""
    things = [thing_words(thing, layout) for thing, layout in product(range(len(THINGS)), range(len(LAYOUTS)))]
    looks = [f"{fill} with {outline}" for fill, outline in product(FILLS, OUTLINES)]
    return things + looks + [f"{a} on {ground} {b}" for a, ground, b in product(COLOURS, GROUNDS, COLOURS)]


def save_tokenizer(folder: Path) -> None:
    tokenizer().save_pretrained(folder)


def tokens(words: list[str]) -> Int[Tensor, "caption word"]:
    """Token numbers, padded to WORDS."""
    return tokenizer()(words, padding="max_length", truncation=True, max_length=WORDS, return_tensors="pt").input_ids
