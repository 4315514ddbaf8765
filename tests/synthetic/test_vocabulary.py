"""A prompt that names nothing the bundled model can draw is told so."""

import pytest

from instantstyle.synthetic import LAYOUTS, MINI_SCOPE, THINGS, describe_thing
from instantstyle.synthetic.vocabulary import explain_unknown_prompt, find_known_things


@pytest.mark.parametrize("layout", range(len(LAYOUTS)))
def test_every_caption_of_the_world_is_known(layout):
    assert all(find_known_things(describe_thing(number, layout)) for number in range(MINI_SCOPE.things))


def test_a_known_word_needs_no_advice():
    assert explain_unknown_prompt(f"A Big {THINGS[0].upper()}, please") is None


def test_a_part_of_a_word_is_not_the_word():
    assert find_known_things(f"x{THINGS[0]}x") == []


def test_an_unknown_prompt_is_told_some_words_that_would_do():
    told = explain_unknown_prompt("a dishwasher")
    assert told is not None
    assert "'a dishwasher'" in told
    assert THINGS[0] in told
