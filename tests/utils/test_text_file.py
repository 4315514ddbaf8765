"""Text files and JSON are read within bounds, with errors in one line."""

import os

import pytest

from instantstyle import JobError
from instantstyle.utils.text_file import MAX_NESTING, MAX_VALUES, parse_json, read_text_file


def test_a_file_is_read_with_its_line_ends_and_without_its_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\r\nb\rc\x85\u2028d\n".encode())
    assert read_text_file(tmp_path / "a.txt", "a list") == "a\r\nb\rc\x85\u2028d\n"


def make_sparse(path):
    with path.open("wb") as file:
        file.truncate(10**12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"does not exist; searched in"),
        (os.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (make_sparse, "has 1,000,000 MB and cannot be read as a list; at most 64 MB are read"),
        (lambda path: path.write_bytes(b"a\xff"), r"byte 0xff in position 1: invalid start byte\); save it as UTF-8"),
        (lambda path: path.write_bytes("a".encode("utf-16")), "save it as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_of_one_line(tmp_path, make, message):
    make(tmp_path / "a.txt")
    with pytest.raises(JobError, match=message) as caught:
        read_text_file(tmp_path / "a.txt", "a list")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/proc/self/mem"])
def test_a_name_that_the_system_refuses_is_an_error_of_one_short_line(name):
    with pytest.raises(JobError, match="cannot be read as a list") as caught:
        read_text_file(name, "a list")
    assert len(str(caught.value)) < 500


def test_json_has_a_limited_depth():
    def nest(levels):
        return "[" * levels + "1" + "]" * levels

    assert parse_json(nest(MAX_NESTING)) is not None
    for levels in (MAX_NESTING + 1, 990, 100_000):
        with pytest.raises(ValueError, match=r"^it is nested deeper than 32 levels$"):
            parse_json(nest(levels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 5000, "it has a number with too many digits"),
        ("[" + "0," * MAX_VALUES + "0]", "it has more than 500,000 values"),
        ("{", r"it is not JSON \(Expecting property name enclosed in double quotes: line 1 column 2 \(char 1\)\)"),
    ],
)
def test_json_that_is_not_accepted_is_an_error_of_one_line(text, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_json(text)
