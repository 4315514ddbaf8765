"""Captions state true attributes, and the tokenizer knows all of their words."""

import re

import pytest
import torch

from instantstyle.synthetic import (
    FILLS,
    MINI_SCOPE,
    THINGS,
    describe_look,
    describe_scene,
    describe_thing,
    sample_scenes,
)
from training.mini.captions import (
    ATTRIBUTES,
    Captions,
    build_tokenizer,
    learn_merges,
    list_phrases,
    sample_captions,
    scene_labels,
    tokenize,
)
from training.mini.settings import MAX_TOKENS

from ..helpers import seeded_generator

SCENES = sample_scenes(64, seeded_generator(0), MINI_SCOPE)


@pytest.mark.slow
def test_every_word_of_every_phrase_is_one_token():
    tokenizer = build_tokenizer()
    for phrase in list_phrases():
        assert tokenizer.tokenize(phrase) == [f"{word}</w>" for word in re.findall(r"\w+|,", phrase)]


@pytest.mark.slow
def test_the_tokenizer_is_deterministic():
    words = sorted({word for phrase in list_phrases() for word in phrase.split()})
    merges = learn_merges(set(words))
    assert merges == learn_merges({*reversed(words)}) == learn_merges({*words[50:], *words[:50]})
    assert build_tokenizer.__wrapped__().get_vocab() == build_tokenizer().get_vocab()


@pytest.mark.parametrize(
    ("words", "merges"),
    [
        ({"ab"}, [("a", "b</w>")]),
        ({"aba"}, [("a", "b"), ("ab", "a</w>")]),  # of equally frequent pairs the alphabetically first
        ({"xab", "yab"}, [("a", "b</w>"), ("x", "ab</w>"), ("y", "ab</w>")]),
    ],
)
def test_the_most_frequent_pair_is_merged_first(words, merges):
    assert learn_merges(words) == merges


def test_no_caption_is_truncated():
    longest = [describe_scene(SCENES, row, layout=True, look=True) for row in range(64)]
    longest.append("three butterflies in a row, swirling with glowing outline, orange on checkered orange")
    assert max(len(build_tokenizer()(text).input_ids) for text in longest) < MAX_TOKENS
    ids = tokenize(longest)
    assert ids.shape == (65, MAX_TOKENS)
    assert ids[:, -1].tolist() == [build_tokenizer().pad_token_id] * 65


def test_unknown_words_are_encoded_by_letters():
    text = build_tokenizer().decode(build_tokenizer()("a zebra").input_ids, skip_special_tokens=True)
    assert isinstance(text, str)
    assert text.strip() == "a zebra"


def test_a_caption_of_all_attributes_is_the_datasets_own():
    captions = sample_captions(SCENES, seeded_generator(1), thing=1.0, layout=1.0, look=1.0)
    assert captions.texts == [describe_scene(SCENES, row, layout=True, look=True) for row in range(64)]
    assert captions.stated.all()


def test_the_object_is_stated_where_nothing_else_is():
    captions = sample_captions(SCENES, seeded_generator(1), thing=0.0, layout=0.0, look=0.0)
    assert captions.texts == [describe_thing(int(thing)) for thing in SCENES.thing]
    assert captions.stated.sum(0).tolist() == [64, 0, 0, 0, 0, 0, 0]


def test_a_look_may_be_stated_alone_and_then_without_a_layout():
    captions = sample_captions(SCENES, seeded_generator(1), thing=0.0, layout=1.0, look=1.0)
    assert captions.texts == [describe_look(SCENES.look, row) for row in range(64)]
    assert captions.stated.sum(0).tolist() == [0, 0, 64, 64, 64, 64, 64]


def test_a_caption_states_the_attributes_it_is_marked_with():
    captions = sample_captions(SCENES, seeded_generator(1), thing=0.6, layout=0.5, look=0.5)
    for row, (text, stated) in enumerate(zip(captions.texts, captions.stated.tolist(), strict=True)):
        states = dict(zip(ATTRIBUTES, stated, strict=True))
        layout = int(SCENES.layout.category[row])
        thing = describe_thing(int(SCENES.thing[row]), layout if states["layout"] else 0)
        assert text.startswith(thing) == states["thing"]
        assert text.endswith(describe_look(SCENES.look, row)) == states["fill"] == states["body"]


def test_labels_are_what_the_images_show():
    captions = sample_captions(SCENES, seeded_generator(1), thing=1.0, layout=1.0, look=1.0)
    assert captions.labels.equal(scene_labels(SCENES))
    for text, labels in zip(captions.texts, captions.labels.tolist(), strict=True):
        names = {name: classes[label] for (name, classes), label in zip(ATTRIBUTES.items(), labels, strict=True)}
        assert names["thing"][:3] in text
        assert f", {names['fill']} with {names['outline']}, {names['body']} on {names['ground']} " in text
        assert text.endswith(names["behind"])


def test_a_caption_matches_the_images_of_which_it_is_true():
    rocket, cat = THINGS.index("rocket"), THINGS.index("cat")
    flat, hatched = FILLS.index("flat"), FILLS.index("hatched")
    labels = torch.tensor(
        [[rocket, 0, 0, flat, 0, 3, 4], [rocket, 5, 0, hatched, 0, 3, 4], [cat, 0, 1, flat, 0, 3, 4]]
    )
    nothing, thing, placed, fill = (
        torch.tensor([name in stated for name in ATTRIBUTES])
        for stated in ((), ("thing",), ("thing", "layout"), ("fill",))
    )
    texts = ["rocket", "rocket, there", "flat"]
    assert Captions(texts, labels, torch.stack([thing, placed, fill])).matches().tolist() == [
        [True, True, False],
        [False, True, False],
        [True, False, True],
    ]
    assert bool(Captions([""] * 3, labels, torch.stack([nothing] * 3)).matches().all())
