"""Prompts that name no thing class of mini get a hint."""

import pytest

from instantstyle.synthetic import LAYOUTS, MINI_SCOPE, THINGS, describe_thing
from instantstyle.synthetic.vocabulary import explain_unknown_prompt, find_known_things


@pytest.mark.parametrize("layout", range(len(LAYOUTS)))
def test_the_thing_of_every_caption_is_found(layout):
    assert all(find_known_things(describe_thing(number, layout)) for number in range(MINI_SCOPE.things))


def test_a_known_word_gives_no_hint():
    assert explain_unknown_prompt(f"A Big {THINGS[0].upper()}, please") is None


def test_a_part_of_a_word_does_not_match():
    assert find_known_things(f"x{THINGS[0]}x") == []


def test_the_hint_for_an_unknown_prompt_has_examples():
    hint = explain_unknown_prompt("a dishwasher")
    assert hint is not None
    assert "'a dishwasher'" in hint
    assert THINGS[0] in hint
