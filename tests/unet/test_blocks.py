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

addresses = st.builds(
    Block, st.sampled_from(["down_blocks", "up_blocks"]), st.integers(0, 20), st.integers(0, 20)
)


@given(addresses)
def test_an_address_survives_printing_and_parsing(block):
    assert Block.parse(str(block)) == block


def test_the_middle_block_has_no_index_in_its_address():
    assert str(Block.parse("mid_block.attentions.0")) == "mid_block.attentions.0"


@pytest.mark.parametrize(
    "text", ["up_blocks.0", "up_blocks.0.attentions.1.transformer_blocks.0", "style", ""]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BlockError, match="one looks like"):
        Block.parse(text)


def test_a_layer_knows_its_block():
    assert Block.of("up_blocks.0.attentions.1.transformer_blocks.9.attn2.processor") == STYLE
    assert Block.of("conv_in.weight") is None


def test_blocks_run_down_middle_up():
    groups = [block.group for block in sorted(set(SDXL.blocks))]
    assert groups == sorted(
        groups, key=["down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1"].index
    )


@pytest.mark.parametrize(
    ("spec", "chosen"),
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
def test_blocks_are_chosen_by_role_name_pattern_list_or_mapping(spec, chosen):
    assert SDXL.select(spec) == chosen


def test_a_later_entry_stands_over_an_earlier_one():
    chosen = SDXL.select({"all": 1, "up_blocks.1.*": 0, "style": 0.3})
    assert len(chosen) == 8
    assert chosen[STYLE] == 0.3


def test_chosen_blocks_come_in_execution_order():
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
        ([], "No block is named"),
        ([3], "blocks cannot be"),
        (7, "blocks cannot be 7"),
        ({"style": "much"}, "The weight of style is 'much'"),
        ({"style": float("nan")}, "finite"),
        ({"style": True}, "finite"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_can(spec, message):
    with pytest.raises(BlockError, match=message):
        SDXL.select(spec)


def test_a_list_of_blocks_is_told_in_few_words():
    assert format_blocks(SDXL.blocks) == (
        "down_blocks.1.attentions.0–1, down_blocks.2.attentions.0–1, mid_block.attentions.0, "
        "up_blocks.0.attentions.0–2, up_blocks.1.attentions.0–2"
    )
    assert format_blocks([SD15.blocks[0], Block("down_blocks", 0, 3)]) == "down_blocks.0.attentions.0/3"


def test_a_mode_selects_all_blocks_that_it_reaches():
    assert sorted(map(str, SDXL.select("precise-style"))) == [
        "down_blocks.2.attentions.1",
        "up_blocks.0.attentions.1",
    ]
    assert set(SDXL.select("precise-layout")) == set(SDXL.blocks)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), addresses),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=12), st.integers(), addresses), inner, max_size=3),
    ),
    max_leaves=6,
)
near_misses = st.text(alphabet="updownblcks_mi.attens0123+*?[]style ", max_size=30)


@given(st.one_of(anything, near_misses, st.dictionaries(near_misses, st.floats(), max_size=2)))
def test_any_choice_of_blocks_is_a_selection_or_a_block_error(spec):
    chosen = {}
    with suppress(BlockError):
        chosen = SDXL.select(spec)
    assert set(chosen) <= set(SDXL.blocks)
    assert all(isfinite(weight) and weight != 0 for weight in chosen.values())
