"""An axis names a field of a recipe and reads its values as that field takes them."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instantstyle.errors import ImageError, JobError
from instantstyle.generation.sweep_axis import FIXED, MOST, SweepAxis
from instantstyle.recipe import Recipe

BASE = Recipe(prompt="a rocket", seed=7)


def values(text: str) -> list:
    axis = SweepAxis.parse(text)
    return [getattr(BASE.but(**{axis.field: value}), axis.field) for value in axis.values]


@pytest.mark.parametrize(
    ("text", "taken"),
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
def test_values_are_a_range_or_one_by_one_of_the_fields_own_type(text, taken):
    assert values(text) == taken


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 3))
def test_both_ends_are_there_and_every_value_is_the_decimal_it_looks_like(steps, step, places):
    unit = 10**places
    text = f"guidance_scale=0:{min(100 * unit, steps * step) / unit}:{step / unit}"
    count = min(100 * unit, steps * step) // step + 1
    assert values(text) == [round(place * step / unit, places) for place in range(count)]


def test_a_style_is_named_by_its_file_and_fingerprint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ink.png").write_bytes(b"ink")
    [[], [ink]] = map(list, values("style=,ink.png"))
    assert (ink.name, ink.sha256) == ("ink.png", sha256(b"ink").hexdigest())


def test_a_style_that_is_not_there_is_refused():
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        SweepAxis.parse("style=nowhere.png")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scale", r"'scale'; give a field and its values: scale=0.2:1.4:0.2"),
        ("skale=1", r"Recipe has no field skale; .* Did you mean scale\?"),
        ("inference=1", r"Did you mean num_inference_steps\?"),
        ("=1", "Recipe has no field ;"),
        ("model=mini,sdxl", "cannot go over model: one model draws the whole grid"),
        ("strength=0.5", "cannot go over strength: its pictures begin from words"),
        ("version=1", "cannot go over version: a recipe only notes it"),
        ("scale=0:1", r"A range is '0:1'; give first:last:step"),
        ("scale=0:1:0", "A range is"),
        ("scale=0:0:0", "A range is"),
        ("scale=1:0:0.1", "A range is"),
        ("scale=a:b:c", "A range is"),
        ("scale=0:inf:1", "A range is"),
        ("scale=nan:1:1", "A range is"),
        ("seed=0:1000000000000:1", f"more than the {MOST} values"),
        (f"seed={','.join(map(str, range(MOST + 1)))}", f"has {MOST + 1} values"),
    ],
)
def test_what_is_no_axis_is_refused_in_one_line(text, told):
    with pytest.raises(JobError, match=told) as refusal:
        SweepAxis.parse(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [("scale=lots", "scale is 'lots'"), ("scale=99", "scale is '99'"), ("removal=divide", "'subtract'")],
)
def test_a_value_that_its_field_does_not_take_is_refused_by_the_recipe(text, told):
    with pytest.raises(JobError, match=told):
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
def test_a_label_says_the_option_and_the_value(changes, field, label):
    assert SweepAxis(field, (None,)).label(BASE.but(**changes)) == label


@pytest.mark.parametrize("field", FIXED)
def test_a_field_that_makes_no_sense_to_sweep_is_refused_by_name(field):
    assert field in Recipe.model_fields
    with pytest.raises(JobError, match=f"cannot go over {field}: "):
        SweepAxis(field, (None,))
