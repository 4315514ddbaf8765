"""Text for one line and for file names."""

import pytest

from instantstyle.utils.text import (
    cut,
    find_text_fault,
    join_first,
    one_line,
    safe_file_name,
    shorten,
    slug,
    split_rows,
)


def test_one_line_joins_words_and_names_an_empty_error_by_its_type():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("abcdef", limit=3) == "abc"


def test_an_empty_text_is_quoted():
    assert one_line("") == one_line(" \n") == '""'
    assert join_first(["prompt", "", ""]) == 'prompt, "", ""'


@pytest.mark.parametrize(
    ("words", "expected"),
    [("A red Rocket!", "a-red-rocket"), ("  ", "image"), ("Über/Öl", "über-öl"), ("x" * 99, "x" * 60)],
)
def test_a_slug_holds_lower_case_words_and_hyphens(words, expected):
    assert slug(words) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("/etc/ink.png", "ink.png"),
        ("C:\\ink.png", "ink.png"),
        ("..hidden", "hidden"),
        ("a\x00b\n.png", "ab.png"),
        ("\ud800.png", "?.png"),
        ("", "image"),
        (None, "image"),
        ("n" * 200 + ".png", "n" * 96 + ".png"),
    ],
)
def test_a_sent_name_becomes_a_printable_last_segment(sent, expected):
    assert safe_file_name(sent) == expected


def test_one_line_escapes_what_a_terminal_would_obey():
    assert one_line("a\x1b[31m\x85b\u2028c\0 \ud800é") == "a\\x1b[31m b c\\x00 \\ud800é"


RING: list[object] = []
RING.append(RING)


SHORT = [
    ("a cat", "'a cat'"),
    ("x" * 10**6, f"'{'x' * 37}...{'x' * 38}'"),
    (10**5000, "an integer of about 4983 digits"),
    ([1, 2, 3, 4, 5, 6], "[1, 2, 3, 4, ...]"),
    ({"a": [[[[1]]]]}, "{'a': [[[...]]]}"),
    (b"x" * 200, "200 bytes"),
    ((0.8, 0.2), "(0.8, 0.2)"),
]
"""Values and their short forms; not as parameters, because pytest cannot write the integer into an id."""


def test_a_value_in_a_message_is_cut():
    assert [shorten(value) for value, _ in SHORT] == [expected for _, expected in SHORT]


def test_a_value_that_contains_itself_is_cut():
    assert len(shorten(RING)) <= 120


def test_a_long_text_and_a_long_list_are_cut():
    assert (cut("abcd", 4), cut("abcde", 4)) == ("abcd", "abc…")
    assert join_first(range(12), count=3) == "0, 1, 2, and 9 more"


def test_rows_end_at_line_feeds_and_nowhere_else():
    others = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
    assert split_rows(f"a{others}b\r\nc\rd\n") == [f"a{others}b", "c\rd", ""]


def test_a_text_with_nul_or_half_a_surrogate_pair_has_a_fault():
    assert [find_text_fault(text) is None for text in ("é🚀", "\x85", "a\0", "\udc80")] == [True, True, False, False]


def test_a_slug_fits_into_a_file_name_in_any_script():
    assert len(f"{slug('象' * 300)}-{2**63 - 1}.png".encode()) < 200
    assert slug("𝒳" * 300) == "𝒳" * 30
