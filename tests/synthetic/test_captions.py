from dataclasses import replace

import pytest
import torch

from instantstyle.synthetic import (
    FILLS,
    GROUNDS,
    LAYOUTS,
    OUTLINES,
    THINGS,
    Scenes,
    describe_look,
    describe_scene,
    describe_thing,
    name_colour,
)


@pytest.fixture
def scene(look, upright) -> Scenes:
    classes = {
        "ground": torch.tensor([GROUNDS.index("striped")]),
        "fill": torch.tensor([FILLS.index("hatched")]),
        "outline": torch.tensor([OUTLINES.index("bold outline")]),
    }
    return Scenes(torch.tensor([THINGS.index("rocket")]), replace(look, **classes), upright("two"))


@pytest.mark.parametrize(
    ("says_layout", "says_look", "words"),
    [
        (False, False, "a rocket"),
        (True, False, "two rockets"),
        (False, True, "a rocket, hatched with bold outline, red on striped white"),
        (True, True, "two rockets, hatched with bold outline, red on striped white"),
    ],
)
def test_a_caption_contains_layout_and_look_on_request(scene, says_layout, says_look, words):
    assert describe_scene(scene, 0, layout=says_layout, look=says_look) == words


@pytest.mark.parametrize(
    ("thing", "layout", "words"),
    [
        ("cat", "centre", "a cat"),
        ("anchor", "centre", "an anchor"),
        ("umbrella", "left", "an umbrella on the left"),
        ("key", "right", "a key on the right"),
        ("moon", "top", "a moon at the top"),
        ("tent", "bottom", "a tent at the bottom"),
        ("cactus", "two", "two cacti"),
        ("butterfly", "row", "three butterflies in a row"),
        ("fox", "two", "two foxes"),
        ("monkey", "two", "two monkeys"),
        ("unicorn", "centre", "a unicorn"),
        ("hourglass", "centre", "an hourglass"),
        ("fish", "ring", "five fish in a ring"),
    ],
)
def test_things_are_described_with_article_number_and_position(thing, layout, words):
    assert describe_thing(THINGS.index(thing), LAYOUTS.index(layout)) == words


def test_every_thing_and_layout_has_its_own_words():
    words = [describe_thing(thing, layout) for thing in range(len(THINGS)) for layout in range(len(LAYOUTS))]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((1, 1, 1), "white"),
        ((0.05, 0.05, 0.1), "black"),
        ((0.5, 0.52, 0.5), "gray"),
        ((0.9, 0.1, 0.1), "red"),
        ((0.9, 0.1, 0.15), "red"),
        ((0.95, 0.5, 0.1), "orange"),
        ((0.9, 0.8, 0.1), "yellow"),
        ((0.1, 0.6, 0.2), "green"),
        ((0.1, 0.6, 0.6), "teal"),
        ((0.1, 0.2, 0.8), "blue"),
        ((0.5, 0.1, 0.8), "purple"),
        ((0.9, 0.2, 0.6), "pink"),
    ],
)
def test_colours_are_named_in_everyday_words(colour, name):
    assert name_colour(*map(float, colour)) == name


def test_a_look_is_described_by_its_classes_and_two_colours(scene):
    assert describe_look(scene.look, 0) == "hatched with bold outline, red on striped white"
