"""Values that no field can hold are found at any depth, and in values without end."""

import numpy as np
import pytest

from instantstyle.utils.parsed_values import find_faults, validate_file_name

RING: list[object] = []
RING.append(RING)


FAULTS = [
    ({"a": {"b": ["x", "\ud83d"]}}, "a.b.1 is '\\ud83d', which has half a surrogate pair, which is not valid Unicode"),
    ({"a": "x\0"}, "a is 'x\\x00', which has a NUL character"),
    ({"\ud800": 1}, "the name '\\ud800' has half a surrogate pair, which is not valid Unicode"),
    ({"a": 10**5000}, "a is an integer of about 4983 digits, which has more than 64 bits"),
    ({"a": b"x"}, "a is b'x', which is not text"),
    ({"a": {"b": [0, True]}}, "a.b.1 is True, which is a boolean, neither a number nor text"),
    ({"a": np.True_}, "a is np.True_, which is a boolean, neither a number nor text"),
    ({"a": [0] * 10_001}, "a has too many values; together there may be 10,000"),
    ({"a": RING}, "a.0.0.0.0.0.0.0.0 is nested deeper than 8 levels"),
]
"""Values and their faults; not as parameters, because pytest cannot write the integer into an id."""


def test_a_value_that_no_field_can_hold_is_described():
    assert [list(find_faults(fields)) for fields, _ in FAULTS] == [[expected] for _, expected in FAULTS]


@pytest.mark.parametrize("value", ["𝄞 🚀 é", -(2**63), 2**64 - 1, 1.5, None, [["a"], {"b": ()}]])
def test_other_values_have_no_faults(value):
    assert list(find_faults({"a": value})) == []


def test_a_flag_is_a_boolean_and_what_is_in_it_is_none():
    assert list(find_faults({"stream": True, "n": 1}, ["stream"])) == []
    assert list(find_faults({"files": [{"on": True}, {"on": False}]}, ["files.on"])) == []
    assert len(list(find_faults({"files": [{"off": True}], "on": True}, ["files.on"]))) == 2
    assert len(list(find_faults({"stream": [True], "n": False}, ["stream"]))) == 2


def test_file_names_have_the_limits_of_file_systems():
    longest = "/".join(["é" * 127] * 15) + "/x"
    assert validate_file_name(longest) == longest
    for name in ("x" * 256, "é" * 128, "/".join(["a" * 200] * 21), "a/" * 2048):
        with pytest.raises(ValueError, match="255 bytes"):
            validate_file_name(name)
