"""The standard names of tensors in all known file layouts."""

import pytest

from instantstyle.errors import CheckpointError
from instantstyle.loaders.key_mapping import map_standard_names, number_layers
from instantstyle.unet.architectures import SD15, SDXL

STYLE = "up_blocks.0.attentions.1.transformer_blocks.0.attn2"


@pytest.mark.parametrize(
    ("stored", "standard"),
    [
        ("image_proj.norm.bias", "image_proj.norm.bias"),
        ("image_proj_model.norm.bias", "image_proj.norm.bias"),
        ("unet.image_proj_model.norm.bias", "image_proj.norm.bias"),
        ("module.image_proj_model.norm.bias", "image_proj.norm.bias"),
        ("adapter_modules.69.to_k_ip.weight", "ip_adapter.69.to_k_ip.weight"),
        ("unet.adapter_modules.69.to_k_ip.weight", "ip_adapter.69.to_k_ip.weight"),
        (f"{STYLE}.processor.to_k_ip.weight", "ip_adapter.69.to_k_ip.weight"),
        (f"unet.{STYLE}.processor.to_v_ip.weight", "ip_adapter.69.to_v_ip.weight"),
        (f"module.unet.{STYLE}.processor.to_v_ip.0.weight", "ip_adapter.69.to_v_ip.weight"),
    ],
)
def test_a_name_of_every_layout_is_mapped_to_the_standard_name(stored, standard):
    others = [f"{path}.processor.to_k_ip.weight" for path in SDXL.layers if path != STYLE]
    assert map_standard_names([stored, *others])[standard] == stored


@pytest.mark.parametrize(("family", "first", "last"), [(SDXL, 1, 139), (SD15, 1, 31)])
def test_module_paths_are_numbered_down_up_mid(family, first, last):
    numbers = number_layers(family.layers)
    assert list(numbers.values()) == list(range(first, last + 1, 2))
    assert numbers["mid_block.attentions.0.transformer_blocks.0.attn2"] == (121 if family is SDXL else 31)


def test_a_part_of_a_known_network_keeps_its_numbers():
    paths = [path for path in SDXL.layers if path.startswith("up_blocks.0.attentions.1.")]
    assert sorted(number_layers(paths).values()) == list(range(69, 89, 2))


def test_an_unknown_network_is_numbered_by_position():
    paths = [
        f"{block}.attentions.0.transformer_blocks.{position}.attn2"
        for block in ("mid_block", "up_blocks.0", "down_blocks.10", "down_blocks.9")
        for position in (10, 9)
    ]
    order = sorted(number_layers(paths).items(), key=lambda entry: entry[1])
    assert [path.partition(".attentions")[0] for path, _ in order][::2] == [
        "down_blocks.9",
        "down_blocks.10",
        "up_blocks.0",
        "mid_block",
    ]
    assert [number for _, number in order] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert ".9.attn2" in order[0][0]


def test_the_network_in_a_dump_of_the_whole_training_module_is_left_out():
    names = [
        "unet.conv_in.weight",
        f"unet.{STYLE}.to_k.weight",
        f"unet.{STYLE}.processor.to_k_ip.weight",
        "adapter_modules.69.to_k_ip.weight",
    ]
    assert map_standard_names(names) == {"ip_adapter.69.to_k_ip.weight": "adapter_modules.69.to_k_ip.weight"}


def test_a_file_that_is_not_an_adapter_keeps_its_names():
    assert map_standard_names(["unet.conv_in.weight"]) == {"unet.conv_in.weight": "unet.conv_in.weight"}


def test_two_tensors_with_one_standard_name_are_rejected():
    with pytest.raises(CheckpointError, match=r"Two tensors have the standard name image_proj\.norm\.bias"):
        map_standard_names(["image_proj.norm.bias", "image_proj_model.norm.bias"])
