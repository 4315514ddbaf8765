import re

import pytest
import torch

from instantstyle.synthetic import FILLS, MINI_SCOPE, THINGS, caption, look_words, sample_scenes, thing_words
from training.mini.settings import WORDS
from training.mini.words import FACTS, Captions, byte_pairs, describe, every_phrase, shown, tokenizer, tokens

from ..helpers import dice

SCENES = sample_scenes(64, dice(0), MINI_SCOPE)


def test_every_word_of_every_phrase_is_one_piece():
    reader = tokenizer()
    for phrase in every_phrase():
        assert reader.tokenize(phrase) == [f"{word}</w>" for word in re.findall(r"\w+|,", phrase)]


def test_the_tokenizer_is_the_same_whenever_it_is_made():
    words = sorted({word for phrase in every_phrase() for word in phrase.split()})
    assert byte_pairs(set(words)) == byte_pairs({*reversed(words)}) == byte_pairs({*words[50:], *words[:50]})
    assert tokenizer.__wrapped__().get_vocab() == tokenizer().get_vocab()


@pytest.mark.parametrize(
    ("words", "merges"),
    [
        ({"ab"}, [("a", "b</w>")]),
        ({"aba"}, [("a", "b"), ("ab", "a</w>")]),  # of equally frequent pairs the first by the alphabet
        ({"xab", "yab"}, [("a", "b</w>"), ("x", "ab</w>"), ("y", "ab</w>")]),
    ],
)
def test_the_most_frequent_pair_is_merged_first(words, merges):
    assert byte_pairs(words) == merges


def test_no_caption_is_cut_off():
    longest = [caption(SCENES, row, layout=True, look=True) for row in range(64)]
    longest.append("three butterflies in a row, swirling with glowing outline, orange on checkered orange")
    assert max(len(tokenizer()(words).input_ids) for words in longest) < WORDS
    ids = tokens(longest)
    assert ids.shape == (65, WORDS)
    assert (ids[:, -1] == tokenizer().pad_token_id).all()


def test_words_that_are_new_are_spelt():
    assert tokenizer().decode(tokenizer()("a zebra").input_ids, skip_special_tokens=True).strip() == "a zebra"


def test_a_caption_of_everything_is_the_worlds_own():
    captions = describe(SCENES, dice(1), thing=1.0, layout=1.0, look=1.0)
    assert captions.words == [caption(SCENES, row, layout=True, look=True) for row in range(64)]
    assert captions.named.all()


def test_the_thing_is_named_where_nothing_else_is():
    captions = describe(SCENES, dice(1), thing=0.0, layout=0.0, look=0.0)
    assert captions.words == [thing_words(int(thing)) for thing in SCENES.thing]
    assert captions.named.sum(0).tolist() == [64, 0, 0, 0, 0, 0, 0]


def test_a_look_may_stand_alone_and_then_names_no_layout():
    captions = describe(SCENES, dice(1), thing=0.0, layout=1.0, look=1.0)
    assert captions.words == [look_words(SCENES.look, row) for row in range(64)]
    assert captions.named.sum(0).tolist() == [0, 0, 64, 64, 64, 64, 64]


def test_a_caption_names_what_it_is_said_to_name():
    captions = describe(SCENES, dice(1), thing=0.6, layout=0.5, look=0.5)
    for row, (words, named) in enumerate(zip(captions.words, captions.named.tolist(), strict=True)):
        says = dict(zip(FACTS, named, strict=True))
        layout = int(SCENES.layout.kind[row])
        thing = thing_words(int(SCENES.thing[row]), layout if says["layout"] else 0)
        assert words.startswith(thing) == says["thing"]
        assert words.endswith(look_words(SCENES.look, row)) == says["fill"] == says["body"]


def test_facts_are_what_the_pictures_show():
    captions = describe(SCENES, dice(1), thing=1.0, layout=1.0, look=1.0)
    assert captions.facts.equal(shown(SCENES))
    for words, facts in zip(captions.words, captions.facts.tolist(), strict=True):
        kinds = {name: kinds[place] for (name, kinds), place in zip(FACTS.items(), facts, strict=True)}
        assert kinds["thing"][:3] in words
        assert f", {kinds['fill']} with {kinds['outline']}, {kinds['body']} on {kinds['ground']} " in words
        assert words.endswith(kinds["behind"])


def test_a_caption_matches_the_pictures_of_which_it_is_true():
    rocket, cat = THINGS.index("rocket"), THINGS.index("cat")
    flat, hatched = FILLS.index("flat"), FILLS.index("hatched")
    facts = torch.tensor(
        [[rocket, 0, 0, flat, 0, 3, 4], [rocket, 5, 0, hatched, 0, 3, 4], [cat, 0, 1, flat, 0, 3, 4]]
    )
    nothing, thing, placed, fill = (
        torch.tensor([name in said for name in FACTS])
        for said in ((), ("thing",), ("thing", "layout"), ("fill",))
    )
    words = ["rocket", "rocket, there", "flat"]
    assert Captions(words, facts, torch.stack([thing, placed, fill])).matches().tolist() == [
        [True, True, False],
        [False, True, False],
        [True, False, True],
    ]
    assert Captions([""] * 3, facts, torch.stack([nothing] * 3)).matches().all()
