"""Styles of several: mixed, moved towards each other, with more taken out; on embeddings or on keys."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from instantstyle import Style, StyleError

from ..helpers import seeded_generator
from .test_style_file import binding, same

EYE = torch.eye(4)


def style(place: int, **changes) -> Style:
    parts = {"image_embeds": EYE[place : place + 1], "unconditional": torch.zeros(4), "name": "abcd"[place]}
    return Style(**{**parts, **changes})


def cat(of: Style, scale: float = 0.5) -> Style:
    return of.with_content(["a cat"], torch.full((1, 4), 0.5), scale)


def random(seed: int, **changes) -> Style:
    return style(0, image_embeds=torch.randn(2, 4, generator=seeded_generator(seed)), weights=(1.0, 0.3), **changes)


def test_a_mix_is_the_weighted_mean_of_its_parts():
    made = Style.mix({style(0): 0.7, style(1): 0.3})
    assert_close(made.embedding(), torch.tensor([0.7, 0.3, 0, 0]))
    assert repr(made) == "Style(a × 0.7 + b × 0.3, CLIP)"


def test_only_proportions_of_weights_matter():
    assert_close(Style.mix({style(0): 7, style(1): 3}).embedding(), torch.tensor([0.7, 0.3, 0, 0]))


def test_a_part_counts_by_its_weight_however_many_pictures_it_has():
    two = style(0, image_embeds=EYE[:2], weights=(30.0, 10.0))
    assert_close(Style.mix({two: 1, style(2): 1}).embedding(), torch.tensor([0.375, 0.125, 0.5, 0]))


def test_in_any_order_a_mix_is_the_same_bit_for_bit():
    parts = [(random(seed, name="same"), weight) for seed, weight in enumerate([0.1, 0.7, 0.1, 0.3])]
    first, *others = [Style.mix(order) for order in permutations(parts)]
    assert all(same(first, other) for other in others)
    assert all(first.embedding().equal(other.embedding()) for other in others)


def test_a_common_content_can_still_be_retuned_in_a_mix():
    made = Style.mix({cat(style(0)): 1, cat(style(1)): 1})
    assert made.content == ("a cat",)
    assert_close(made.embedding(), torch.tensor([0.25, 0.25, -0.25, -0.25]))
    assert_close(made.with_removal(0.0).embedding(), torch.tensor([0.5, 0.5, 0, 0]))


def test_contents_that_differ_are_taken_out_of_each_part_for_good():
    made = Style.mix({cat(style(0)): 1, style(1): 1})
    assert (made.content, made.name) == ((), '(a − "a cat" × 0.5) × 1 + b × 1')
    assert_close(made.embedding(), torch.tensor([0.5, 0.5, 0, 0]) - 0.125)


def test_a_part_of_weight_nought_is_no_part():
    assert Style.mix({style(0): 1, style(1): 0}).name == "a"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, "there is none"),
        ({style(0): 0}, "there is none"),
        ({style(0): -1}, "weight of a style in a mix is -1"),
        ({style(0): float("nan")}, "finite number"),
        (
            {style(0): 1, style(1, image_embeds=torch.ones(1, 5), unconditional=torch.zeros(5)): 1},
            "different",
        ),
        ({style(0, encoder_fingerprint="a" * 16): 1, style(1, encoder_fingerprint="b" * 16): 1}, "different"),
        (
            {style(0): 1, style(1, image_embeds=EYE[:2], weights=(1, 1), combine="concat"): 1},
            "concatenates tokens",
        ),
        ({"nowhere": 1}, "no style 'nowhere' in the library"),
    ],
)
def test_what_makes_no_mix_is_refused(parts, told):
    with pytest.raises(StyleError, match=told):
        Style.mix(parts)


def test_towards_leads_from_one_style_to_another():
    a, b = style(0), style(1)
    assert a.interpolate(b, 0) is a
    assert a.interpolate(b, 1) is b
    assert_close(a.interpolate(b, 0.25).embedding(), torch.tensor([0.75, 0.25, 0, 0]))
    assert same(a.interpolate(b, 0.25), b.interpolate(a, 0.75))
    with pytest.raises(StyleError, match="0 is this style, 1 the other"):
        a.interpolate(b, 1.5)


def test_minus_takes_more_words_out_beside_the_first():
    both = cat(style(0)).minus(["a mat"], EYE[:1])
    assert both.content == ("a cat", "a mat")
    assert_close(both.embedding(), EYE[0] - 0.25 - 0.5 * EYE[0])
    with pytest.raises(StyleError, match="one scale"):
        cat(style(0)).minus(["a mat"], EYE[:1], 0.9)


def bound(seed: int, **changes) -> Style:
    return random(seed, bindings=(binding(seed, **changes),))


def test_a_mix_on_embeddings_is_not_bound():
    assert Style.mix({bound(0): 1, bound(1): 1}).bindings == ()


def test_styles_that_are_only_bound_are_mixed_by_their_keys():
    made = Style.mix({bound(0).bound_only(): 3, bound(1).bound_only(): 1})
    assert not made.has_ingredients
    [(layer, pair)] = made.bindings[0].layers.items()
    parts = [binding(seed).layers[layer] for seed in (0, 1)]
    for found, one, other in zip(pair, *parts, strict=True):
        assert_close(found, 0.75 * one + 0.25 * other)


def test_keys_are_mixed_on_request_and_in_any_order_the_same():
    parts = [(bound(seed), 1 / (seed + 1)) for seed in range(4)]
    first, *others = [Style.mix(order, on="keys") for order in permutations(parts)]
    assert all(same(first, other) for other in others)


@pytest.mark.parametrize(
    "other", [{"adapter": "c" * 16}, {"family": "sd15"}, {"layers": ("mid_block.attentions.0.attn2",)}]
)
def test_keys_of_other_adapters_families_or_layers_are_not_mixed(other):
    with pytest.raises(StyleError, match="cannot be mixed by their keys"):
        Style.mix({bound(0): 1, bound(1, **other): 1}, on="keys")


def test_layers_that_all_have_are_mixed():
    name, extra = next(iter(binding().layers)), "mid_block.attentions.0.transformer_blocks.0.attn2"
    made = Style.mix({bound(0): 1, bound(1, layers=(name, extra)): 1}, on="keys")
    assert list(made.bindings[0].layers) == [name]


def test_who_made_the_parts_is_told_of_the_whole():
    made = Style.mix({style(0, author="Ada", licence="CC0"): 2, style(1, author="Bo", licence="CC0"): 1, style(2): 1})
    assert (made.author, made.licence) == ("Ada, Bo", "CC0")


def test_a_mix_can_be_made_of_files_and_saved(tmp_path):
    for place in (0, 1):
        style(place).save(tmp_path / f"{place}.style.safetensors")
    made = Style.mix({tmp_path / "0.style.safetensors": 0.7, str(tmp_path / "1.style.safetensors"): 0.3})
    assert same(Style.load(made.save(tmp_path / "both.style.safetensors")), made)
    assert same(replace(made, name="x"), replace(Style.mix({style(1): 0.3, style(0): 0.7}), name="x"))
