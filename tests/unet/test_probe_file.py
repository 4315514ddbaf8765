"""Probe files in block specs, and the roles that they propose."""

import json

import pytest

from instantstyle.errors import BlockError, JobError
from instantstyle.generation.generate import generate
from instantstyle.generation.validate import validate
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference
from instantstyle.unet.architectures import MINI, SDXL
from instantstyle.unet.blocks import Block
from instantstyle.unet.probe_file import resolve_block_spec

STYLE = ["up_blocks.1.attentions.0", "up_blocks.1.attentions.1"]
LAYOUT = ["mid_block.attentions.0"]
TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


def probe_file(path, **changes):
    """Write a file as `instantstyle probe` writes it for SDXL."""
    content = {
        "version": 1,
        "settings": {"network": "sdxl", "blocks": [str(block) for block in SDXL.blocks]},
        "roles": {"style": {"blocks": STYLE}, "layout": {"blocks": LAYOUT}},
        "cells": {},
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


def select(architecture, spec):
    return architecture.select(resolve_block_spec(spec, architecture))


@pytest.fixture
def probe_path(tmp_path, monkeypatch):
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
def test_a_file_stands_for_its_style_role_or_for_the_role_after_the_colon(probe_path, spec, blocks):
    assert [str(block) for block in select(SDXL, spec)] == blocks


def test_a_file_can_have_a_weight(probe_path):
    assert select(SDXL, {"probe.json": 0.5}) == dict.fromkeys(map(Block.parse, STYLE), 0.5)


def test_a_file_can_be_in_another_folder(probe_path, tmp_path):
    assert select(SDXL, f"{tmp_path / 'probe.json'}:layout") == {Block.parse(*LAYOUT): 1.0}


@pytest.mark.parametrize("spec", ["style", "up_blocks.0.*", {"all": 1.0, STYLE[0]: 0}, Block.parse(STYLE[0])])
def test_a_spec_without_a_file_is_returned_unchanged(spec):
    assert resolve_block_spec(spec) == spec


def test_selecting_blocks_opens_no_file(probe_path):
    with pytest.raises(BlockError, match=r"SDXL has no block probe\.json"):
        SDXL.select("probe.json")


def test_a_probe_of_another_network_with_the_same_blocks_is_rejected(probe_path):
    assert MINI.blocks == SDXL.blocks
    with pytest.raises(BlockError, match=r"probe\.json is a probe of another network: .* sdxl, .* mini\."):
        select(MINI, "probe.json")


def test_a_probe_with_other_blocks_is_rejected(probe_path):
    probe_file(probe_path, settings={"network": "sdxl", "blocks": STYLE})
    with pytest.raises(BlockError, match=r"it has up_blocks\.1\.attentions\.0–1, and this one"):
        select(SDXL, "probe.json")


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        (
            {"roles": None},
            "probe.json",
            "proposes no roles: it is not a probe file, or",
        ),
        ({"roles": {"layout": {"blocks": LAYOUT}}}, "probe.json", "no blocks for 'style', only for layout"),
        ({"roles": {}}, "probe.json:layout", "no blocks for 'layout', nor for any other role"),
        ({}, "probe.json:colour", "no blocks for 'colour', only for style, layout"),
        ({"version": 9}, "probe.json", "is not a result journal of version 1"),
        ({"settings": {}}, "probe.json", "does not have the format of a probe file"),
        ({"settings": []}, "probe.json", "does not have the format of a probe file"),
        ({"roles": {"style": ["up"]}}, "probe.json", "does not have the format of a probe file"),
        ({"roles": {"style": {"blocks": ["up"]}}}, "probe.json", "does not have the format of a probe file"),
        ({}, "other.json", r"other\.json does not exist; searched in"),
    ],
)
def test_an_invalid_file_is_rejected_in_one_line_before_a_model_is_loaded(
    probe_path, reference, changes, spec, message
):
    probe_file(probe_path, **changes)
    reference.save("ink.png")
    with pytest.raises((BlockError, JobError), match=message) as error:
        validate(Recipe(prompt="a", seed=1, model="/nowhere", references=(Reference(name="ink.png"),), blocks=spec))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "no"])
def test_a_file_that_is_not_a_journal_is_rejected(probe_path, text):
    probe_path.write_text(text)
    with pytest.raises(JobError, match=r"probe\.json is not"):
        resolve_block_spec("probe.json")


def test_a_call_applies_the_style_in_the_probed_blocks(probe_path, styled, reference):
    def pixels(blocks) -> bytes:
        return styled("a", style=reference, blocks=blocks, seed=1, **TINY).images[0].tobytes()

    assert pixels("probe.json") == pixels(STYLE) != pixels("style")


def test_a_style_is_bound_to_the_probed_blocks(probe_path, styled, reference):
    bound = styled.bind(styled.style(reference), "probe.json:layout")
    assert [str(block) for block in bound.bindings[0].blocks] == LAYOUT


def test_the_recipe_contains_block_names_and_does_not_need_the_file(probe_path, styled, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    recipe = Recipe.model_validate(
        {"prompt": "a", "seed": 1, "references": [{"name": "ink.png"}], "blocks": "probe.json", **TINY}
    )
    [(image, completed)] = generate(styled, recipe)
    probe_path.unlink()
    assert completed.blocks == "+".join(STYLE)
    [(again, _)] = generate(styled, completed)
    assert again.tobytes() == image.tobytes()
