"""The tables of UNet families, and how a network's family is found."""

import pytest

from instantstyle.architectures import ARCHITECTURES, match_architecture
from instantstyle.errors import BlockError
from instantstyle.unet.architectures import MINI, SD15, SDXL
from instantstyle.unet.blocks import Block


def processor_names(blocks):
    return [f"{block}.transformer_blocks.0.attn2.processor" for block in blocks]


@pytest.mark.parametrize("family", [SDXL, SD15])
def test_a_family_is_matched_by_its_blocks(family):
    assert match_architecture(processor_names(family.blocks), family.cross_dim) is family


def test_equal_blocks_with_an_unknown_cross_dim_match_the_first_family():
    assert match_architecture(processor_names(SDXL.blocks), 32) is SDXL


def test_sdxl_has_eleven_blocks_and_its_style_block_runs_seventh():
    assert len(SDXL.blocks) == 11
    assert SDXL.blocks.index(SDXL.roles["style"][0]) == 6
    assert SDXL.blocks.index(SDXL.roles["layout"][0]) == 3


def test_sd15_has_sixteen_blocks_and_experimental_roles():
    assert len(SD15.blocks) == 16
    assert SD15.experimental
    assert [str(block) for block in SD15.select("style")] == [f"up_blocks.1.attentions.{i}" for i in range(3)]


@pytest.mark.parametrize("family", ARCHITECTURES, ids=lambda family: family.name)
def test_every_role_consists_of_the_familys_blocks_and_has_a_source(family):
    for role, blocks in family.roles.items():
        assert set(blocks) <= set(family.blocks)
        assert family.sources[role]


def test_mini_has_the_blocks_of_sdxl():
    assert MINI.blocks == SDXL.blocks


def test_an_unknown_network_has_no_roles_but_its_blocks_can_be_selected_by_name():
    unknown = match_architecture(processor_names([Block("up_blocks", 0, 0), Block("mid_block", 0, 0)]), 64)
    with pytest.raises(BlockError, match=r"no role 'style'; .* Select blocks by name: mid_block"):
        unknown.select("style")
    assert list(unknown.select("up_blocks.0.attentions.0")) == [Block("up_blocks", 0, 0)]
