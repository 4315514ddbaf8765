"""Block names, their order and the selection of blocks."""

from contextlib import suppress
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instantstyle.errors import BlockError
from instantstyle.unet.architectures import SD15, SDXL
from instantstyle.unet.blocks import Block, format_blocks

STYLE = Block("up_blocks", 0, 1)
LAYOUT = Block("down_blocks", 2, 1)

blocks = st.builds(Block, st.sampled_from(["down_blocks", "up_blocks"]), st.integers(0, 20), st.integers(0, 20))


@given(blocks)
def test_a_printed_block_is_parsed_to_the_same_block(block):
    assert Block.parse(str(block)) == block


def test_the_middle_block_has_no_index_in_its_name():
    assert str(Block.parse("mid_block.attentions.0")) == "mid_block.attentions.0"


@pytest.mark.parametrize("text", ["up_blocks.0", "up_blocks.0.attentions.1.transformer_blocks.0", "style", ""])
def test_a_string_that_is_not_a_block_name_is_rejected(text):
    with pytest.raises(BlockError, match="is not a block name"):
        Block.parse(text)


def test_the_block_of_a_layer_is_found_from_its_name():
    assert Block.from_layer_name("up_blocks.0.attentions.1.transformer_blocks.9.attn2.processor") == STYLE
    assert Block.from_layer_name("conv_in.weight") is None


def test_blocks_compare_in_execution_order_down_middle_up():
    groups = [block.group for block in sorted(set(SDXL.blocks))]
    assert groups == sorted(
        groups, key=["down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1"].index
    )


@pytest.mark.parametrize(
    ("spec", "selected"),
    [
        ("style", {STYLE: 1.0}),
        ("layout", {LAYOUT: 1.0}),
        ("style+layout", {LAYOUT: 1.0, STYLE: 1.0}),
        ("all", dict.fromkeys(SDXL.blocks, 1.0)),
        ("up_blocks.0.attentions.1", {STYLE: 1.0}),
        (STYLE, {STYLE: 1.0}),
        (["layout", "up_blocks.0.attentions.1"], {LAYOUT: 1.0, STYLE: 1.0}),
        ({"style": 0.5, "layout": 2}, {LAYOUT: 2.0, STYLE: 0.5}),
        ({"style+layout": 0.5}, {LAYOUT: 0.5, STYLE: 0.5}),
        ("up_blocks.0.*", dict.fromkeys([b for b in SDXL.blocks if b.group == "up_blocks.0"], 1.0)),
        ({"style": 0}, {}),
    ],
)
def test_blocks_are_selected_by_role_name_pattern_list_or_mapping(spec, selected):
    assert SDXL.select(spec) == selected


def test_a_later_entry_overrides_an_earlier_one():
    selected = SDXL.select({"all": 1, "up_blocks.1.*": 0, "style": 0.3})
    assert len(selected) == 8
    assert selected[STYLE] == 0.3


def test_selected_blocks_are_in_execution_order():
    assert list(SDXL.select("style+layout")) == [LAYOUT, STYLE]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "up_blocks.0.attentions.7",
            r"SDXL has no block up_blocks.0.attentions.7; it has up_blocks.0.attentions.0–2 \(style: .1\)\.",
        ),
        ("up_block.0.attentions.1", r"Did you mean up_blocks.0.attentions.1\?"),
        ("stlye", r"roles style, layout, strong-style, all\. Did you mean style\?"),
        ("up_blocks.9.*", "SDXL has no block"),
        ([], "No block is selected"),
        ([3], "blocks cannot be"),
        (7, "blocks cannot be 7"),
        ({"style": "much"}, "The weight of style is 'much'"),
        ({"style": float("nan")}, "finite"),
        ({"style": True}, "finite"),
    ],
)
def test_an_impossible_selection_is_rejected_with_the_possible_ones(spec, message):
    with pytest.raises(BlockError, match=message):
        SDXL.select(spec)


def test_consecutive_blocks_are_formatted_as_a_range():
    assert format_blocks(SDXL.blocks) == (
        "down_blocks.1.attentions.0–1, down_blocks.2.attentions.0–1, mid_block.attentions.0, "
        "up_blocks.0.attentions.0–2, up_blocks.1.attentions.0–2"
    )
    assert format_blocks([SD15.blocks[0], Block("down_blocks", 0, 3)]) == "down_blocks.0.attentions.0/3"


def test_a_mode_selects_the_blocks_of_both_halves():
    assert sorted(map(str, SDXL.select("precise-style"))) == [
        "down_blocks.2.attentions.1",
        "up_blocks.0.attentions.1",
    ]
    assert set(SDXL.select("precise-layout")) == set(SDXL.blocks)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), blocks),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=12), st.integers(), blocks), inner, max_size=3),
    ),
    max_leaves=6,
)
near_misses = st.text(alphabet="updownblcks_mi.attens0123+*?[]style ", max_size=30)


@given(st.one_of(anything, near_misses, st.dictionaries(near_misses, st.floats(), max_size=2)))
def test_any_value_is_a_selection_or_a_block_error(spec):
    selected = {}
    with suppress(BlockError):
        selected = SDXL.select(spec)
    assert set(selected) <= set(SDXL.blocks)
    assert all(isfinite(weight) and weight != 0 for weight in selected.values())
