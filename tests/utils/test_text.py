"""Text for one line and for file names."""

import pytest

from instantstyle.utils.text import one_line, safe_file_name, slug


def test_one_line_joins_words_and_names_an_empty_error_by_its_type():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("abcdef", limit=3) == "abc"


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
