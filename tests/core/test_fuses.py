"""How styles are fused: two by AdaIN in one layer are refused, and a style says what it was tuned for."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from instantstyle import InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.errors import RequestWarning
from instantstyle.generation.style_card import describe_style

from ..conftest import make_pipe


@pytest.fixture(scope="module")
def model(tokenizer_folder, state, image_encoder) -> InstantStyle:
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)


def pair(model: InstantStyle, reference: Any, one: dict[str, Any], other: dict[str, Any]) -> list[StyleConditioning]:
    styles = model.style(reference), model.style(reference.rotate(90))
    return [
        StyleConditioning(style, **{"fuse": "adain", **own}) for style, own in zip(styles, (one, other), strict=True)
    ]


@pytest.mark.parametrize("other", [{"blocks": "all"}, {"scale": 0.5}, {"start": 0.3}, {"curve": [0.0, 1.0]}])
def test_two_in_one_layer_at_one_step_are_refused(model, reference, other: dict[str, Any]):
    with pytest.raises(StyleError, match=r"act in up_blocks.0.attentions.1.* at the same steps"):
        model.using(pair(model, reference, {}, other)).__enter__()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"blocks": "layout"}),
        ({"end": 0.5}, {"start": 0.5}),
        ({"mask": torch.eye(4)}, {"mask": 1 - torch.eye(4)}),
        ({}, {"fuse": "add"}),
    ],
)
def test_those_of_other_layers_steps_places_and_ways_act_both(model, short, reference, one, other):
    both = pair(model, reference, one, other)
    images = [model("a", seed=1, style=style, **short).images for style in (both, both[:1], both[1:])]
    assert not images[0].equal(images[1])
    assert not images[0].equal(images[2])


def test_a_style_says_what_it_was_tuned_for(model, short, reference, tmp_path):
    style = replace(model.style(reference), name="ink", tuned_for="adain")
    loaded = Style.load(style.save(tmp_path / "ink.style.safetensors"))
    assert loaded.tuned_for == style.with_removal(0.5).tuned_for == "adain"
    assert dict(describe_style(loaded, "1 kB"))["tuned for"] == "fuse adain"
    plain = replace(style, tuned_for=None)
    assert [Style.mix([(style, 1), (each, 1)]).tuned_for for each in (style, plain)] == ["adain", None]
    with pytest.warns(RequestWarning, match=r"ink was tuned for fuse='adain', and fuse is 'add'; give fuse='adain'"):
        model("a", style=loaded, **short)
    model("a", style=loaded, fuse="adain", **short)
    with pytest.raises(StyleError, match="tuned_for is 'sum'; it is None or a value of fuse: add, adain"):
        replace(plain, tuned_for="sum")
