"""An axis names a field of a recipe and parses its values as that field accepts them."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instantstyle.errors import ImageError, JobError
from instantstyle.generation.sweep_axis import EXCLUDED_FIELDS, MAX_VALUES, SweepAxis
from instantstyle.recipe import Recipe

BASE = Recipe(prompt="a rocket", seed=7)


def values(text: str) -> list:
    axis = SweepAxis.parse(text)
    return [getattr(BASE.replace(**{axis.field: value}), axis.field) for value in axis.values]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scale=0.2:1.4:0.2", [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]),
        ("scale=0:1:0.3", [0, 0.3, 0.6, 0.9]),
        ("scale=1:0:-0.5", [1, 0.5, 0]),
        ("scale=0.5:0.5:0.1", [0.5]),
        ("scale=0.5, 1", [0.5, 1]),
        ("seed=1:3:1", [1, 2, 3]),
        ("steps=10,20,10", [10, 20]),
        ("content_scale=0:1:1", [0, 1]),
        ("blocks=style,layout,all", ["style", "layout", "all"]),
        ("blocks=found/probe.json:layout", ["found/probe.json:layout"]),
        ("prompt=a: b", ["a: b"]),
        ('prompt="a rocket, red", a tree', ["a rocket, red", "a tree"]),
        ("removal=subtract,project", ["subtract", "project"]),
        ("content=,a cat", [(), ("a cat",)]),
        ("negative=,blurry", ["", "blurry"]),
        ("mask=", [None]),
        ("guidance-interval=,0.2:0.8", [None, (0.2, 0.8)]),
        ("content_scale=0.5,auto", [0.5, "auto"]),
    ],
)
def test_values_are_a_range_or_a_list_of_the_fields_type(text, expected):
    assert values(text) == expected


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 3))
def test_both_ends_are_included_and_every_value_is_the_exact_decimal(steps, step, places):
    unit = 10**places
    text = f"guidance_scale=0:{min(100 * unit, steps * step) / unit}:{step / unit}"
    count = min(100 * unit, steps * step) // step + 1
    assert values(text) == [round(place * step / unit, places) for place in range(count)]


def test_a_style_is_stored_by_file_and_sha256(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ink.png").write_bytes(b"ink")
    [[], [ink]] = map(list, values("style=,ink.png"))
    assert (ink.name, ink.sha256) == ("ink.png", sha256(b"ink").hexdigest())


def test_a_missing_style_raises_an_error():
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        SweepAxis.parse("style=nowhere.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale", r"'scale'; give a field and its values: scale=0.2:1.4:0.2"),
        ("skale=1", r"Recipe has no field skale; .* Did you mean scale\?"),
        ("inference=1", r"Did you mean num_inference_steps\?"),
        ("=1", "Recipe has no field ;"),
        ("model=mini,sdxl", "cannot vary model: one model generates the whole grid"),
        ("strength=0.5", "cannot vary strength: its images start from noise"),
        ("version=1", "cannot vary version: a recipe only records it"),
        ("scale=0:1", r"A range is '0:1'; give first:last:step"),
        ("scale=0:1:0", "A range is"),
        ("scale=0:0:0", "A range is"),
        ("scale=1:0:0.1", "A range is"),
        ("scale=a:b:c", "A range is"),
        ("scale=0:inf:1", "A range is"),
        ("scale=nan:1:1", "A range is"),
        ("seed=0:1000000000000:1", f"more than {MAX_VALUES} values"),
        (f"seed={','.join(map(str, range(MAX_VALUES + 1)))}", f"has {MAX_VALUES + 1} values"),
    ],
)
def test_an_invalid_axis_raises_an_error_in_one_line(text, message):
    with pytest.raises(JobError, match=message) as error:
        SweepAxis.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("scale=lots", "scale is 'lots'"), ("scale=99", "scale is '99'"), ("removal=divide", "'subtract'")],
)
def test_a_value_that_the_field_does_not_accept_raises_the_error_of_the_recipe(text, message):
    with pytest.raises(JobError, match=message):
        values(text)


@pytest.mark.parametrize(
    ("changes", "field", "label"),
    [
        ({"scale": 0.2}, "scale", "scale 0.2"),
        ({"num_inference_steps": 20}, "num_inference_steps", "steps 20"),
        (
            {"references": [{"name": "a/ink.png"}, {"name": "oil.png"}]},
            "references",
            "style ink.png + oil.png",
        ),
        ({"mask": {"name": "a/mask.png"}}, "mask", "mask mask.png"),
        ({"blocks": {"style": 1.0, "layout": 0.5}}, "blocks", "blocks style 1, layout 0.5"),
        ({"guidance_interval": (0.2, 1)}, "guidance_interval", "guidance_interval 0.2:1"),
        ({}, "content", "content –"),
        ({}, "guidance_scale", "guidance –"),
    ],
)
def test_a_label_shows_the_option_and_the_value(changes, field, label):
    assert SweepAxis(field, (None,)).label(BASE.replace(**changes)) == label


@pytest.mark.parametrize("field", EXCLUDED_FIELDS)
def test_an_excluded_field_raises_an_error_that_names_it(field):
    assert field in Recipe.model_fields
    with pytest.raises(JobError, match=f"cannot vary {field}: "):
        SweepAxis(field, (None,))
