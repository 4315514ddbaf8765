"""Selection of layers inside blocks, by number, range, pattern and weight."""

import pytest

from instantstyle.errors import BlockError
from instantstyle.unet.architectures import SD15, SDXL, Architecture
from instantstyle.unet.blocks import Block, BlockLayer, format_blocks, parse_block_or_layer

STYLE = Block("up_blocks", 0, 1)
NAME = "up_blocks.0.attentions.1.transformer_blocks"


def layers(*positions: int, block: Block = STYLE) -> list[BlockLayer]:
    return [BlockLayer(block, position) for position in positions]


@pytest.mark.parametrize(
    ("spec", "selected"),
    [
        (f"{NAME}.3", dict.fromkeys(layers(3), 1.0)),
        (BlockLayer(STYLE, 3), dict.fromkeys(layers(3), 1.0)),
        (f"{NAME}.2-5", dict.fromkeys(layers(2, 3, 4, 5), 1.0)),
        (f"{NAME}.2–5", dict.fromkeys(layers(2, 3, 4, 5), 1.0)),
        (f"{NAME}.0+{NAME}.9", dict.fromkeys(layers(0, 9), 1.0)),
        ([f"{NAME}.0-1", "layout"], {Block("down_blocks", 2, 1): 1.0, **dict.fromkeys(layers(0, 1), 1.0)}),
        ({f"{NAME}.2-3": 0.5, f"{NAME}.3": 2}, dict(zip(layers(2, 3), (0.5, 2.0), strict=True))),
        ({"style": 0.5, f"{NAME}.0": 1}, {BlockLayer(STYLE, 0): 1.0, **dict.fromkeys(layers(*range(1, 10)), 0.5)}),
        ({"style": 1, f"{NAME}.3-9": 0}, dict.fromkeys(layers(0, 1, 2), 1.0)),
        ({f"{NAME}.3": 2, "style": 1}, {STYLE: 1.0}),
        (f"{NAME}.0-4+{NAME}.5-9", {STYLE: 1.0}),
        (f"{NAME}.*", {STYLE: 1.0}),
        ({f"{NAME}.0-9": 0.3}, {STYLE: 0.3}),
        ({"style": 1, f"{NAME}.0-9": 0}, {}),
        ("up_blocks.0.attentions.0-2", {Block("up_blocks", 0, number): 1.0 for number in range(3)}),
        (
            "up_blocks.1.attentions.*.transformer_blocks.1",
            {BlockLayer(Block("up_blocks", 1, number), 1): 1.0 for number in range(3)},
        ),
        (
            "up_blocks.0-1.attentions.2.transformer_blocks.0",
            {BlockLayer(Block("up_blocks", index, 2), 0): 1.0 for index in range(2)},
        ),
    ],
)
def test_layers_are_selected_by_number_range_pattern_and_weight(spec, selected):
    assert SDXL.select(spec) == selected


@pytest.mark.parametrize("family", [SDXL, SD15], ids=lambda family: family.name)
def test_all_layers_of_each_block_are_the_block(family):
    for block, count in family.layer_counts.items():
        assert family.select(f"{block}.transformer_blocks.0-{count - 1}") == {block: 1.0}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            f"{NAME}.12",
            rf"no layer {NAME}.12; up_blocks.0.attentions.1 has transformer_blocks.0–9. Did you mean {NAME}.9",
        ),
        (f"{NAME}.8-12", rf"no layer {NAME}.8-12; .* Did you mean {NAME}.9\?"),
        (f"{NAME}.0-9999", "no layer"),
        (f"{NAME}.x", rf"no layer {NAME}.x; .* Did you mean {NAME}.0\?"),
        (NAME, "no layer"),
        (f"{NAME}.5-2", "is empty: its first number is above its last"),
        (
            "up_blocks.0.attentions.7.transformer_blocks.0",
            r"no block up_blocks.0.attentions.7.*; it has up_blocks.0.att",
        ),
        (
            "up_blocks.0.attentions.0-3",
            "SDXL has no block up_blocks.0.attentions.0-3; it has up_blocks.0.attentions.0–2",
        ),
        ("0-9999.0-9999.0-9999.0-9999", "more than 3 ranges"),
        ("0-9999.0-9999.0-9999", "SDXL has no block"),
    ],
)
def test_a_layer_that_does_not_exist_is_refused_with_the_nearest_one(spec, message):
    with pytest.raises(BlockError, match=message) as error:
        SDXL.select(spec)
    assert "\n" not in str(error.value)


def test_layers_of_a_block_without_a_known_number_of_them_are_refused():
    unknown = Architecture("unknown", "This network", 32, (STYLE,))
    with pytest.raises(BlockError, match=r"How many layers up_blocks.0.attentions.1 .* is not known"):
        unknown.select(f"{NAME}.0")
    counted = unknown.with_layers([f"{NAME}.{number}.attn2.processor" for number in range(3)])
    assert counted.select(f"{NAME}.0-1") == dict.fromkeys(layers(0, 1), 1.0)
    assert counted.select(f"{NAME}.0-2") == {STYLE: 1.0}


def test_a_layer_is_named_and_parsed_as_its_module_is():
    assert parse_block_or_layer(f"{NAME}.3") == BlockLayer(STYLE, 3)
    assert str(BlockLayer(STYLE, 3)) == f"{NAME}.3"
    assert parse_block_or_layer(str(STYLE)) == STYLE
    assert BlockLayer.from_layer_name(f"{NAME}.10.attn2.to_k.weight") == BlockLayer(STYLE, 10)
    for name in (NAME, f"{NAME}.", f"{NAME}.3.attn2", "conv_in", "up_blocks.00.attentions.1.transformer_blocks.3"):
        with pytest.raises(BlockError, match="is not a block name"):
            parse_block_or_layer(name)


def test_layers_are_formatted_as_ranges_beside_blocks():
    parts = [*layers(2, 3, 4), Block("mid_block", 0, 0), *layers(0, 2, block=Block("up_blocks", 1, 0))]
    assert format_blocks(parts) == (
        f"mid_block.attentions.0, {NAME}.2–4, up_blocks.1.attentions.0.transformer_blocks.0/2"
    )
