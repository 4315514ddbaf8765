"""Each role, published table, ease and mode acts in exactly its layers with exactly its weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest
import torch

from instantstyle import StyleConditioning
from instantstyle.core.attention.decoupled import StyleKeyValues
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.core.style import Style
from instantstyle.errors import BlockError, StyleError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.unet.architectures import MINI, SD15, SDXL
from instantstyle.unet.blocks import BlockSpec
from instantstyle.unet.modes import MODES

from ..conftest import EMBEDDING_DIM, base_projection, layer_weights, make_unet

Weights = Mapping[int, float]
Expected = tuple[Weights, Weights]
"""Weights by number of the block in execution order: those of the conditional and of the unconditional half."""


def of(weight: float, *numbers: int) -> dict[int, float]:
    return dict.fromkeys(numbers, weight)


EASES_OF_11: dict[str, list[float]] = {
    "ease-in": [1.0, 10.05, 9.1, 8.15, 7.2, 6.25, 5.3, 4.35, 3.4, 2.45, 1.5],
    "ease-out": [0.05, 1.5, 2.45, 3.4, 4.35, 5.3, 6.25, 7.2, 8.15, 9.1, 10.05],
    "ease-in-out": [0.05, 2.45, 4.35, 6.25, 8.15, 10.05, 10.05, 8.15, 6.25, 4.35, 2.45],
    "reverse-in-out": [1.0, 9.1, 7.2, 5.3, 3.4, 1.5, 1.5, 3.4, 5.3, 7.2, 9.1],
}
"""Weights of 11 blocks; all but the first times 11."""

EASES_OF_16: dict[str, list[float]] = {
    "ease-in": [16, 15.05, 14.1, 13.15, 12.2, 11.25, 10.3, 9.35, 8.4, 7.45, 6.5, 5.55, 4.6, 3.65, 2.7, 1.75],
    "ease-out": [0.8, 1.75, 2.7, 3.65, 4.6, 5.55, 6.5, 7.45, 8.4, 9.35, 10.3, 11.25, 12.2, 13.15, 14.1, 15.05],
    "ease-in-out": [0.8, 2.7, 4.6, 6.5, 8.4, 10.3, 12.2, 14.1, 16, 14.1, 12.2, 10.3, 8.4, 6.5, 4.6, 2.7],
    "reverse-in-out": [16, 14.1, 12.2, 10.3, 8.4, 6.5, 4.6, 2.7, 0.8, 2.7, 4.6, 6.5, 8.4, 10.3, 12.2, 14.1],
}
"""Weights of 16 blocks, times 16."""


def eases_of_11() -> dict[str, Expected]:
    ramps: dict[str, Expected] = {
        name: ({i: value if i == 0 else value / 11 for i, value in enumerate(values)}, {})
        for name, values in EASES_OF_11.items()
    }
    down, up = range(4), range(5, 11)
    return ramps | {
        "weak-input": ({**of(0.2, *down), **of(1, 4, *up)}, {}),
        "weak-middle": ({**of(1, *down, *up), 4: 0.2}, {}),
        "weak-output": ({**of(1, *down, 4), **of(0.2, *up)}, {}),
        "strong-middle": ({**of(0.2, *down, *up), 4: 1}, {}),
    }


def eases_of_16() -> dict[str, Expected]:
    ramps: dict[str, Expected] = {
        name: ({i: value / 16 for i, value in enumerate(values)}, {}) for name, values in EASES_OF_16.items()
    }
    down, up = range(6), range(7, 16)
    return ramps | {
        "weak-input": ({**of(0.2, *down), **of(1, 6, *up)}, {}),
        "weak-middle": ({**of(1, *down, *up), 6: 0.2}, {}),
        "weak-output": ({**of(1, *down, 6), **of(0.2, *up)}, {}),
        "strong-middle": ({**of(0.2, *down, *up), 6: 1}, {}),
    }


STRONG = (0, 1, 2, 4, 5, 6, 7, 8, 9, 10)

EXPECTED: dict[str, dict[str, Expected]] = {
    "sdxl": {
        "style": (of(1, 6), {}),
        "layout": (of(1, 3), {}),
        "strong-style": (of(1, *STRONG), {}),
        "precise-style": (of(1, 6), of(1, 3)),
        "precise-layout": (of(1, 3), of(0.1, *STRONG)),
        "style-transfer": (of(1, 6), {}),
        "composition": (of(1, 3), {}),
        "strong-style-transfer": (of(1, *STRONG), {}),
        "style-and-composition": (of(1, 3, 6), {}),
        "strong-style-and-composition": (of(1, *range(11)), {}),
        "style-transfer-precise": (of(1, 6), of(1, 3)),
        "composition-precise": (of(1, 3), {**of(0.1, 0, 1, 2, 4, 5, 7, 8, 9, 10), 6: 1}),
        **eases_of_11(),
    },
    "sd15": {
        "style": (of(1, 7, 8, 9), {}),
        "layout": (of(1, 4, 5, 6), {}),
        "precise-style": (of(1, 7, 8, 9), of(1, 4, 5, 6)),
        "precise-layout": (of(1, 4, 5, 6), of(0.1, 0, 1, 2, 3, *range(7, 16))),
        "style-transfer": (of(1, 0, 1, 2, 3, *range(9, 16)), {}),
        "composition": ({4: 0.25, 5: 1}, {}),
        "strong-style-transfer": (of(1, 0, 1, 2, 3, *range(6, 16)), {}),
        "style-and-composition": ({**of(1, 0, 1, 2, 3, *range(9, 16)), 4: 0.25, 5: 1}, {}),
        "strong-style-and-composition": (of(1, *range(16)), {}),
        "style-transfer-precise": (of(1, 0, 1, 2, 3, *range(9, 16)), {4: 0.25, 5: 1}),
        "composition-precise": ({4: 0.25, 5: 1}, {**of(1, 0, 1, 2, 3, *range(9, 16)), **of(0.1, 6, 7, 8)}),
        **eases_of_16(),
    },
    "mini": {
        "style": (of(1, 6, 7), {}),
        "layout": (of(1, 3), {}),
        "precise-style": (of(1, 6, 7), of(1, 3)),
        "precise-layout": (of(1, 3), of(0.1, *range(3), *range(4, 11))),
        **eases_of_11(),
    },
}
"""By family and name, as published; SDXL 0–3 down, 4 middle, 5–10 up, SD1.5 0–5 down, 6 middle, 7–15 up."""

SD15_SIZES = {
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 1,
}


def make_adapter(family: str) -> IPAdapter:
    unet = make_unet(**(SD15_SIZES if family == "sd15" else {}))
    layers = IPAdapter(None, unet).layers
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(layers)}
    return IPAdapter(IPAdapterCheckpoint.open(state), unet, MINI if family == "mini" else None)


@pytest.fixture(scope="module", params=[SDXL, SD15, MINI], ids=lambda family: family.name)
def adapter(request) -> IPAdapter:
    adapter = make_adapter(request.param.name)
    assert adapter.family == request.param.name
    return adapter


@pytest.fixture(scope="module")
def ink() -> Style:
    generator = torch.Generator().manual_seed(0)
    return Style(torch.randn(1, EMBEDDING_DIM, generator=generator), torch.zeros(EMBEDDING_DIM))


def injected_weights(adapter: IPAdapter, style: Style, name: BlockSpec) -> list[dict[str, float]]:
    """Return the scales of what is injected, by layer: the conditional and the unconditional half."""
    halves: list[dict[str, float]] = [{}, {}]
    for conditioning in StyleConditioning(style, name).expand_mode():
        for layer, (settings,) in adapter.style_layers(conditioning).items():
            styled = cast(StyleKeyValues, settings)
            halves[styled.unconditional][layer] = round(styled.weight.scale.item(), 6)
    return halves


def by_layer(adapter: IPAdapter, weights: Weights) -> dict[str, float]:
    blocks = adapter.architecture.blocks
    return {
        layer.name: round(weights[blocks.index(layer.block)], 6)
        for layer in adapter.layers
        if layer.block and blocks.index(layer.block) in weights
    }


def test_each_name_acts_in_exactly_its_layers_with_exactly_its_weights(adapter, ink):
    expected = EXPECTED[adapter.family]
    found = {name: injected_weights(adapter, ink, name) for name in expected}
    wanted = {name: [by_layer(adapter, half) for half in halves] for name, halves in expected.items()}
    assert not [name for name in wanted if found[name] != wanted[name]]


def test_every_name_of_every_family_is_expected(adapter):
    architecture = adapter.architecture
    modes = {name for name in MODES if adapter.family != "mini" or name.startswith("precise")}
    assert {*architecture.roles, *architecture.weights, *modes} == {*EXPECTED[adapter.family]}


def test_every_name_has_a_source():
    for family in (SDXL, SD15, MINI):
        assert set(family.weight_sources) == set(family.weights)
        assert all({**family.sources, **family.weight_sources}.values())


def test_names_have_weights_and_combine_with_blocks(adapter, ink):
    halves = [
        adapter.style_layers(StyleConditioning(ink, blocks))
        for blocks in ({"ease-in": 0.5, "mid_block.attentions.0": 0.0}, "ease-in")
    ]
    half, whole = ({name: keys.weight.scale.item() for name, (keys,) in layers.items()} for layers in halves)
    assert half == {name: pytest.approx(scale / 2) for name, scale in whole.items() if not name.startswith("mid")}


def test_modes_are_joined_listed_and_mapped_to_weights(adapter, ink):
    (one, away), (layout, _) = (injected_weights(adapter, ink, name) for name in ("precise-style", "layout"))
    half = [{layer: round(weight / 2, 6) for layer, weight in each.items()} for each in (one, away)]
    cases: dict[str, tuple[BlockSpec, list[dict[str, float]]]] = {
        "joined": ("precise-style+layout", [one | layout, away]),
        "listed": (["layout", " precise-style "], [one | layout, away]),
        "mapped": ({"precise-style": 0.5}, half),
        "mapped beside a role": ({"precise-style": 0.5, "layout": 1.0}, [half[0] | layout, half[1]]),
        "two modes, the later one applies": (
            {"precise-layout": 1.0, "precise-style": 0.5},
            [layout | half[0], injected_weights(adapter, ink, "precise-layout")[1] | half[1]],
        ),
        "no weight": ({"precise-style": 0.0}, [{}, {}]),
    }
    assert {name: injected_weights(adapter, ink, spec) for name, (spec, _) in cases.items()} == {
        name: expected for name, (_, expected) in cases.items()
    }
    assert adapter.architecture.select("precise-style+layout") == adapter.architecture.select("style+layout")
    with pytest.raises(StyleError, match=r"precise-style.* has an unconditional part of its own"):
        StyleConditioning(ink, {"precise-style": 0.5}, negative_style=ink).expand_mode()


def test_a_mode_without_its_tables_is_refused_by_its_own_name(styled, reference, monkeypatch):
    monkeypatch.setattr(styled.adapter, "architecture", replace(styled.architecture, tables={}))
    message = "has no mode composition-precise, which needs composition and style-transfer; its modes are "
    style = styled.style(reference)
    for blocks in ("composition-precise", {"style": 1.0, "composition-precise": 0.5}):
        for arguments in ({"style": style, "blocks": blocks}, {"style": StyleConditioning(style, blocks)}):
            with pytest.raises(BlockError, match=message), styled.using(**arguments):
                pass
        with pytest.raises(BlockError, match=message):
            MINI.select(blocks)


def test_tables_of_another_family_are_refused_with_the_names_that_exist(ink):
    with pytest.raises(BlockError, match=r"mini has no block composition; .* roles style, layout, all"):
        make_adapter("mini").style_layers(StyleConditioning(ink, "composition"))
