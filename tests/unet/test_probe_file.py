"""A probe's file stands for the blocks that it proposes, wherever blocks are chosen."""

import json

import pytest

from instantstyle.errors import BlockError, JobError
from instantstyle.generation.generate import generate, validate
from instantstyle.recipe import Recipe
from instantstyle.unet.architectures import MINI, SDXL
from instantstyle.unet.blocks import Block
from instantstyle.unet.probe_file import resolve_block_spec

STYLE = ["up_blocks.1.attentions.0", "up_blocks.1.attentions.1"]
LAYOUT = ["mid_block.attentions.0"]
TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


def probe_file(path, **changes):
    """As `instantstyle probe` writes it, of SDXL."""
    held = {
        "version": 1,
        "settings": {"network": "sdxl", "blocks": [str(block) for block in SDXL.blocks]},
        "roles": {"style": {"blocks": STYLE}, "layout": {"blocks": LAYOUT}},
        "cells": {},
    }
    path.write_text(json.dumps({**held, **changes}))
    return path


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return probe_file(tmp_path / "probe.json")


@pytest.mark.parametrize(
    ("spec", "blocks"),
    [
        ("probe.json", STYLE),
        ("probe.json:style", STYLE),
        ("probe.json:layout", LAYOUT),
        ("probe.json + probe.json:layout", [*LAYOUT, *STYLE]),
        (["style", "probe.json:layout"], [*LAYOUT, "up_blocks.0.attentions.1"]),
    ],
)
def test_the_file_is_its_style_role_and_another_one_by_name(found, spec, blocks):
    assert [str(block) for block in SDXL.select(spec)] == blocks


def test_it_takes_a_weight_as_a_role_does(found):
    assert SDXL.select({"probe.json": 0.5}) == dict.fromkeys(map(Block.parse, STYLE), 0.5)


def test_it_may_lie_anywhere(found, tmp_path):
    assert SDXL.select(f"{tmp_path / 'probe.json'}:layout") == {Block.parse(*LAYOUT): 1.0}


@pytest.mark.parametrize("spec", ["style", "up_blocks.0.*", {"all": 1.0, STYLE[0]: 0}, Block.parse(STYLE[0])])
def test_a_selection_without_a_file_stays_as_it_is(spec):
    assert resolve_block_spec(spec) == spec


def test_a_probe_of_another_network_with_the_same_blocks_is_refused(found):
    assert MINI.blocks == SDXL.blocks
    with pytest.raises(BlockError, match=r"probe\.json is of another network: .* sdxl, .* mini\."):
        MINI.select("probe.json")


def test_a_probe_of_other_blocks_is_refused(found):
    probe_file(found, settings={"network": "sdxl", "blocks": STYLE})
    with pytest.raises(BlockError, match=r"it has up_blocks\.1\.attentions\.0–1, and this one"):
        SDXL.select("probe.json")


@pytest.mark.parametrize(
    ("changes", "spec", "told"),
    [
        ({"roles": None}, "probe.json", "proposes no roles: it is no probe's, or the probe was not finished"),
        ({"roles": {"layout": {"blocks": LAYOUT}}}, "probe.json", "no blocks for 'style', only for layout"),
        ({"roles": {}}, "probe.json:layout", "no blocks for 'layout', nor for any other role"),
        ({}, "probe.json:colour", "no blocks for 'colour', only for style, layout"),
        ({"version": 9}, "probe.json", "another version"),
        ({"settings": {}}, "probe.json", "not as a probe wrote it"),
        ({"settings": []}, "probe.json", "not as a probe wrote it"),
        ({"roles": {"style": ["up"]}}, "probe.json", "not as a probe wrote it"),
        ({"roles": {"style": {"blocks": ["up"]}}}, "probe.json", "not as a probe wrote it"),
        ({}, "other.json", r"other\.json does not exist; looked in"),
    ],
)
def test_what_no_probe_wrote_is_refused_in_one_line_before_a_model_is_loaded(found, changes, spec, told):
    probe_file(found, **changes)
    with pytest.raises((BlockError, JobError), match=told) as refusal:
        validate(Recipe(prompt="a", seed=1, model="/nowhere", blocks=spec))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "[]", "no"])
def test_a_file_that_is_no_json_of_ours_is_refused(found, text):
    found.write_text(text)
    with pytest.raises(JobError, match=r"probe\.json is not"):
        resolve_block_spec("probe.json")


def test_a_call_draws_in_the_probed_blocks(found, styled, reference):
    def drawn(blocks) -> bytes:
        return styled("a", style=reference, blocks=blocks, seed=1, **TINY).images[0].tobytes()

    assert drawn("probe.json") == drawn(STYLE) != drawn("style")


def test_a_style_is_bound_for_the_probed_blocks(found, styled, reference):
    bound = styled.bind(styled.style(reference), "probe.json:layout")
    assert [str(block) for block in bound.bindings[0].blocks] == LAYOUT


def test_the_recipe_names_the_blocks_so_that_the_file_may_go(found, styled, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    recipe = Recipe.model_validate(
        {"prompt": "a", "seed": 1, "references": [{"name": "ink.png"}], "blocks": "probe.json", **TINY}
    )
    [(picture, made)] = generate(styled, recipe)
    found.unlink()
    assert made.blocks == "+".join(STYLE)
    [(again, _)] = generate(styled, made)
    assert again.tobytes() == picture.tobytes()
