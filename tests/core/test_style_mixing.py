"""Mixtures and interpolation of styles, by embeddings or by keys and values, and removal of more content."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from instantstyle import Style, StyleError
from instantstyle.generation.style_card import describe_style

from ..helpers import seeded_generator
from .test_style_file import are_equal, make_bound

EYE = torch.eye(4)


def make_style(position: int, **changes) -> Style:
    parts = {"image_embeds": EYE[position : position + 1], "unconditional": torch.zeros(4), "name": "abcd"[position]}
    return Style(**{**parts, **changes})


def without_cat(of: Style, scale: float = 0.5) -> Style:
    return of.with_content(["a cat"], torch.full((1, 4), 0.5), scale)


def make_random_style(seed: int, **changes) -> Style:
    return make_style(
        0, image_embeds=torch.randn(2, 4, generator=seeded_generator(seed)), weights=(1.0, 0.3), **changes
    )


def test_a_mix_is_the_weighted_mean_of_its_parts():
    mixed = Style.mix({make_style(0): 0.7, make_style(1): 0.3})
    assert_close(mixed.embedding(), torch.tensor([0.7, 0.3, 0, 0]))
    assert repr(mixed) == "Style(a × 0.7 + b × 0.3, CLIP)"


def test_only_proportions_of_weights_matter():
    assert_close(Style.mix({make_style(0): 7, make_style(1): 3}).embedding(), torch.tensor([0.7, 0.3, 0, 0]))


def test_the_number_of_references_does_not_change_the_weight_of_a_part():
    two = make_style(0, image_embeds=EYE[:2], weights=(30.0, 10.0))
    assert_close(Style.mix({two: 1, make_style(2): 1}).embedding(), torch.tensor([0.375, 0.125, 0.5, 0]))


def test_the_order_of_parts_does_not_change_a_bit():
    parts = [(make_random_style(seed, name="are_equal"), weight) for seed, weight in enumerate([0.1, 0.7, 0.1, 0.3])]
    first, *others = [Style.mix(order) for order in permutations(parts)]
    assert all(are_equal(first, other) for other in others)
    assert all(first.embedding().equal(other.embedding()) for other in others)


def test_content_that_all_parts_share_can_be_changed_in_the_mix():
    mixed = Style.mix({without_cat(make_style(0)): 1, without_cat(make_style(1)): 1})
    assert mixed.content == ("a cat",)
    assert_close(mixed.embedding(), torch.tensor([0.25, 0.25, -0.25, -0.25]))
    assert_close(mixed.with_removal(0.0).embedding(), torch.tensor([0.5, 0.5, 0, 0]))


def test_content_that_differs_is_removed_permanently_from_each_part():
    mixed = Style.mix({without_cat(make_style(0)): 1, make_style(1): 1})
    assert (mixed.content, mixed.name) == ((), '(a − "a cat" × 0.5) × 1 + b × 1')
    assert_close(mixed.embedding(), torch.tensor([0.5, 0.5, 0, 0]) - 0.125)


def test_parts_of_weight_zero_are_dropped():
    assert Style.mix({make_style(0): 1, make_style(1): 0}).name == "a"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "there is none"),
        ({make_style(0): 0}, "there is none"),
        ({make_style(0): -1}, "weight of a style in a mix is -1"),
        ({make_style(0): float("nan")}, "finite number"),
        (
            {make_style(0): 1, make_style(1, image_embeds=torch.ones(1, 5), unconditional=torch.zeros(5)): 1},
            "different",
        ),
        (
            {make_style(0, encoder_fingerprint="a" * 16): 1, make_style(1, encoder_fingerprint="b" * 16): 1},
            "different",
        ),
        (
            {make_style(0): 1, make_style(1, image_embeds=EYE[:2], weights=(1, 1), combine="concat"): 1},
            "concatenates tokens",
        ),
        ({"nowhere": 1}, "no style 'nowhere' in the library"),
    ],
)
def test_invalid_mixes_raise_an_error(parts, message):
    with pytest.raises(StyleError, match=message):
        Style.mix(parts)


def test_interpolate_leads_from_one_style_to_another():
    a, b = make_style(0), make_style(1)
    assert a.interpolate(b, 0) is a
    assert a.interpolate(b, 1) is b
    assert_close(a.interpolate(b, 0.25).embedding(), torch.tensor([0.75, 0.25, 0, 0]))
    assert are_equal(a.interpolate(b, 0.25), b.interpolate(a, 0.75))
    with pytest.raises(StyleError, match="0 is this style, 1 the other"):
        a.interpolate(b, 1.5)


def test_minus_removes_more_words_beside_earlier_ones():
    both = without_cat(make_style(0)).minus(["a mat"], EYE[:1])
    assert both.content == ("a cat", "a mat")
    assert_close(both.embedding(), EYE[0] - 0.25 - 0.5 * EYE[0])
    with pytest.raises(StyleError, match="one scale"):
        without_cat(make_style(0)).minus(["a mat"], EYE[:1], 0.9)


def make_bound_style(seed: int, **changes) -> Style:
    return make_random_style(seed, bindings=(make_bound(seed, **changes),))


def test_a_mix_of_embeddings_is_not_bound():
    assert Style.mix({make_bound_style(0): 1, make_bound_style(1): 1}).bindings == ()


def test_styles_without_embeddings_are_mixed_by_keys_and_values():
    mixed = Style.mix({make_bound_style(0).bound_only(): 3, make_bound_style(1).bound_only(): 1})
    assert not mixed.has_ingredients
    [(layer, pair)] = mixed.bindings[0].layers.items()
    parts = [make_bound(seed).layers[layer] for seed in (0, 1)]
    for found, one, other in zip(pair, *parts, strict=True):
        assert_close(found, 0.75 * one + 0.25 * other)


def test_the_order_of_parts_does_not_change_a_mix_of_keys():
    parts = [(make_bound_style(seed), 1 / (seed + 1)) for seed in range(4)]
    first, *others = [Style.mix(order, on="keys") for order in permutations(parts)]
    assert all(are_equal(first, other) for other in others)


@pytest.mark.parametrize(
    "other", [{"adapter": "c" * 16}, {"family": "sd15"}, {"layers": ("mid_block.attentions.0.attn2",)}]
)
def test_keys_of_different_adapters_families_or_layers_raise_an_error(other):
    with pytest.raises(StyleError, match="cannot be mixed by their keys"):
        Style.mix({make_bound_style(0): 1, make_bound_style(1, **other): 1}, on="keys")


def test_only_layers_that_all_parts_have_are_mixed():
    name, extra = next(iter(make_bound().layers)), "mid_block.attentions.0.transformer_blocks.0.attn2"
    mixed = Style.mix({make_bound_style(0): 1, make_bound_style(1, layers=(name, extra)): 1}, on="keys")
    assert list(mixed.bindings[0].layers) == [name]


def test_the_parts_of_a_mix_that_name_no_author_or_licence_stay_unknown():
    ink, neon = make_style(0), make_style(1, author="Ada", licence="CC0-1.0")
    mixed = Style.mix({ink: 2, neon: 1})
    assert (mixed.author, mixed.licence) == ("unknown, Ada", "unknown; CC0-1.0")
    again = Style.mix({mixed: 2, make_style(2, author="Bo", licence="CC0-1.0"): 1, make_style(3): 0.5})
    assert (again.author, again.licence) == ("unknown, Ada, Bo", "unknown; CC0-1.0")
    assert {(each.author, each.licence) for each in (Style.mix({ink: 1, make_style(2): 1}), ink)} == {("", "")}


def test_a_mix_says_what_was_removed_from_its_parts(tmp_path):
    mixed = Style.mix({without_cat(make_style(0)): 2, make_style(1): 1})
    assert mixed.removed_from_parts == ('a − "a cat" × 0.5',)
    again = Style.mix({mixed: 2, without_cat(make_style(2), 0.3): 1, without_cat(make_style(3), 0): 1})
    assert again.removed_from_parts == ('a − "a cat" × 0.5', 'c − "a cat" × 0.3')
    loaded = Style.load(replace(again, name="own").save(tmp_path / "a.style.safetensors"))
    found = [dict(describe_style(style, "1 kB"))["removed"] for style in (loaded, without_cat(mixed), make_style(0))]
    listed = 'from its parts: a − "a cat" × 0.5'
    assert found == [f'{listed}; c − "a cat" × 0.3', f"a cat (× 0.5, subtract); {listed}", "nothing"]


def test_what_a_mix_still_removes_itself_is_not_listed_of_its_parts():
    mixed = Style.mix({without_cat(make_style(0)): 1, without_cat(make_style(1)): 1})
    assert (mixed.content, mixed.removed_from_parts) == (("a cat",), ())
    keys = Style.mix(
        [(without_cat(make_bound_style(0)).with_binding(make_bound()), 1), (make_bound_style(1), 1)], on="keys"
    )
    assert keys.removed_from_parts == ('a − "a cat" × 0.5',)


def test_style_files_can_be_mixed_and_the_mix_saved(tmp_path):
    for position in (0, 1):
        make_style(position).save(tmp_path / f"{position}.style.safetensors")
    mixed = Style.mix({tmp_path / "0.style.safetensors": 0.7, str(tmp_path / "1.style.safetensors"): 0.3})
    assert are_equal(Style.load(mixed.save(tmp_path / "both.style.safetensors")), mixed)
    assert are_equal(replace(mixed, name="x"), replace(Style.mix({make_style(1): 0.3, make_style(0): 0.7}), name="x"))
