"""Adapter files: type, sizes and family, partial reading, and the check against a network."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from instantstyle.errors import CheckpointError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.unet.architectures import MINI, SD15, SDXL
from instantstyle.unet.blocks import Layer

from ..conftest import CROSS_DIM, base_projection, full_projection, plus_projection

# Number of cross-attention layers in each SDXL block, in the order in which diffusers lists them.
SDXL_DEPTHS = {
    "down_blocks.1.attentions.0": 2,
    "down_blocks.1.attentions.1": 2,
    "down_blocks.2.attentions.0": 10,
    "down_blocks.2.attentions.1": 10,
    "up_blocks.0.attentions.0": 10,
    "up_blocks.0.attentions.1": 10,
    "up_blocks.0.attentions.2": 10,
    "up_blocks.1.attentions.0": 2,
    "up_blocks.1.attentions.1": 2,
    "up_blocks.1.attentions.2": 2,
    "mid_block.attentions.0": 10,
}


def sdxl_layers(width=8, cross_dim=CROSS_DIM):
    names = [
        f"{block}.transformer_blocks.{depth}.attn2.processor"
        for block, depths in SDXL_DEPTHS.items()
        for depth in range(depths)
    ]
    return [Layer(2 * position + 1, name, width, cross_dim) for position, name in enumerate(names)]


def flat(state):
    return {f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        (base_projection, ("base", 4, 24)),
        (plus_projection, ("plus", 6, 16)),
        (full_projection, ("full", None, 16)),
    ],
)
def test_type_tokens_and_widths_are_derived_from_the_tensors(state, projection, expected):
    file = IPAdapterCheckpoint.open({**state, "image_proj": projection()})
    assert (file.projection_type, file.tokens, file.embedding_dim) == expected
    assert file.cross_dim == CROSS_DIM


def test_an_adapter_that_fits_is_accepted(saved, layers):
    IPAdapterCheckpoint.open(saved).validate_layers(layers)


def test_validating_the_layers_reads_no_tensor(saved, layers):
    file = IPAdapterCheckpoint.open(saved)
    file.validate_layers(layers)
    assert file.tensors_read == ()


def test_the_style_block_of_sdxl_has_the_twenty_tensors_69_to_87(tmp_path):
    tensors = {f"ip_adapter.{n}.to_{x}_ip.weight": torch.zeros(8, CROSS_DIM) for n in range(1, 140, 2) for x in "kv"}
    save_file(flat({"image_proj": base_projection()}) | tensors, tmp_path / "sdxl.safetensors")
    file = IPAdapterCheckpoint.open(tmp_path / "sdxl.safetensors")
    file.validate_layers(sdxl_layers())
    for layer in sdxl_layers():
        if str(layer.block) == "up_blocks.0.attentions.1":
            file.read_layer(layer.number)
    expected = {f"ip_adapter.{n}.to_{x}_ip.weight" for n in range(69, 89, 2) for x in "kv"}
    assert len(expected) == 20
    assert set(file.tensors_read) == expected


def by_path(layers, state):
    """Name the adapter's layers as `unet.state_dict()` does."""
    names = {layer.number: layer.name for layer in layers}
    return {
        f"unet.{names[int(number)]}.{rest}": tensor
        for number, _, rest, tensor in ((*name.partition("."), tensor) for name, tensor in state["ip_adapter"].items())
    }


@pytest.mark.parametrize("form", ["numbers", "paths", "both, and the network"])
def test_dumps_of_training_scripts_are_read_as_the_same_adapter(state, layers, form):
    dump = {f"image_proj_model.{name}": tensor for name, tensor in state["image_proj"].items()}
    numbered = {f"adapter_modules.{name}": tensor for name, tensor in state["ip_adapter"].items()}
    if form != "paths":
        dump |= numbered
    if form != "numbers":
        dump |= by_path(layers, state)
    if form.startswith("both"):
        dump["unet.conv_in.weight"] = torch.zeros(1)
    file = IPAdapterCheckpoint.open(dump)
    file.validate_layers(layers)
    for layer in layers:
        key, value = file.read_layer(layer.number)
        assert key.equal(state["ip_adapter"][f"{layer.number}.to_k_ip.weight"])
        assert value.equal(state["ip_adapter"][f"{layer.number}.to_v_ip.weight"])


@pytest.mark.parametrize("family", [SDXL, SD15, MINI], ids=lambda family: family.name)
def test_the_unet_family_is_derived_from_the_layers(family):
    # Tensors without data, because only shapes are used.
    cross_dim = family.cross_dim or 192
    tensors = {
        f"{2 * position + 1}.to_{x}_ip.weight": torch.empty(width, cross_dim, device="meta")
        for position, width in enumerate(family.layers.values())
        for x in "kv"
    }
    projection = base_projection(cross_dim=cross_dim)
    assert IPAdapterCheckpoint.open({"image_proj": projection, "ip_adapter": tensors}).architecture is family


def test_the_unet_family_of_an_unknown_network_is_none(state):
    assert IPAdapterCheckpoint.open(state).architecture is None


def sdxl_sixteenth(projection):
    """Make an adapter with all layers of SDXL and each width divided by 16, which keeps proportions."""
    layers = {
        f"ip_adapter.{2 * position + 1}.to_{x}_ip.weight": torch.zeros(width // 16, 2048 // 16).half()
        for position, width in enumerate(SDXL.layers.values())
        for x in "kv"
    }
    return {f"image_proj.{name}": tensor.half() for name, tensor in projection.items()} | layers


@pytest.mark.parametrize("dim", [1280 // 16, 1024 // 16], ids=["bigG", "ViT-H"])
def test_the_style_block_reads_at_most_a_fifth_of_the_file(tmp_path, dim):
    path = tmp_path / "sdxl.safetensors"
    save_file(sdxl_sixteenth(base_projection(dim, 2048 // 16)), path)
    file = IPAdapterCheckpoint.open(path)
    file.read_projection()
    for number in range(69, 89, 2):
        file.read_layer(number)
    header = file.bytes_read - file.size_of(range(69, 89, 2))
    assert 0 < header < 20_000
    # Dividing widths by 16 divides tensors by 256, but not the header, which is therefore left out.
    share = (file.bytes_read - header) / (path.stat().st_size - header)
    assert 0.17 < share < 0.18
    assert file.bytes_read / path.stat().st_size < 0.2


@pytest.mark.parametrize("part", ["image_proj", "ip_adapter"])
def test_a_file_without_one_of_the_parts_is_rejected(state, part):
    with pytest.raises(CheckpointError, match=f"no {part} tensors"):
        IPAdapterCheckpoint.open({**state, part: {}})


def test_missing_misshapen_and_unexpected_tensors_are_all_listed_at_once(state, layers):
    tensors = dict(state["ip_adapter"])
    del tensors["1.to_k_ip.weight"], tensors["5.to_v_ip.weight"]
    tensors["7.to_k_ip.weight"] = torch.zeros(3, CROSS_DIM)
    tensors["99.to_k_ip.weight"] = torch.zeros(8, CROSS_DIM)
    with pytest.raises(CheckpointError) as error:
        IPAdapterCheckpoint.open({**state, "ip_adapter": tensors}).validate_layers(layers)
    problems = str(error.value).partition("network: ")[2].split("; ")
    assert [problem.split(",")[0].rstrip(".") for problem in problems] == [
        "missing ip_adapter.1.to_k_ip.weight",
        "missing ip_adapter.5.to_v_ip.weight",
        "ip_adapter.7.to_k_ip.weight is [3",
        "unexpected ip_adapter.99.to_k_ip.weight",
    ]


def test_an_adapter_of_another_family_is_rejected_with_both_cross_dims():
    tensors = {f"1.to_{x}_ip.weight": torch.zeros(8, 768) for x in "kv"}
    file = IPAdapterCheckpoint.open({"image_proj": base_projection(cross_dim=768), "ip_adapter": tensors})
    with pytest.raises(CheckpointError, match=r"768 \(Stable Diffusion 1.5\); the network has 2048 \(SDXL\)"):
        file.validate_layers(sdxl_layers(cross_dim=2048))


def test_a_projection_with_missing_tensors_is_rejected_with_their_names(state):
    projection = plus_projection()
    del projection["layers.2.0.to_kv.weight"], projection["norm_out.bias"]
    with pytest.raises(CheckpointError, match=r"norm_out\.bias; missing image_proj\.layers\.2\.0\.to_kv\.weight"):
        IPAdapterCheckpoint.open({**state, "image_proj": projection})


def test_a_resampler_that_lacks_its_last_layers_is_rejected(state):
    projection = {name: tensor for name, tensor in plus_projection().items() if not name.startswith("layers.3.")}
    with pytest.raises(CheckpointError, match=r"missing image_proj\.layers\.3 \(11 tensors\)\.$"):
        IPAdapterCheckpoint.open({**state, "image_proj": projection})
    shallow = {name: tensor for name, tensor in projection.items() if not name.startswith("layers.")}
    with pytest.raises(CheckpointError, match=r"layers\.0 \(11 tensors\); missing image_proj\.layers\.1"):
        IPAdapterCheckpoint.open({**state, "image_proj": shallow})


@pytest.mark.parametrize("make", [base_projection, full_projection, plus_projection])
@pytest.mark.parametrize("suffix", ["safetensors", "bin", ""])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_tensors_of_integers_are_rejected_with_their_names(tmp_path, state, make, suffix, dtype):
    for part, name in (("image_proj", list(make())[-1]), ("ip_adapter", "5.to_v_ip.weight")):
        tensors = flat({**state, "image_proj": make()})
        tensors[f"{part}.{name}"] = tensors[f"{part}.{name}"].to(dtype)
        path = tmp_path / f"a.{suffix}"
        {"safetensors": save_file, "bin": torch.save}.get(suffix, lambda *_: None)(tensors, path)
        kind = str(dtype).removeprefix("torch.")
        kind = {"int64": "i64", "uint8": "u8"}.get(kind, kind) if suffix == "safetensors" else kind
        with pytest.raises(CheckpointError, match=rf"not floating-point numbers: {part}\.{name} \({kind}\); weights"):
            IPAdapterCheckpoint.open(path if suffix else tensors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("suffix", ["safetensors", ""])
def test_all_floating_dtypes_are_read(tmp_path, state, dtype, suffix):
    tensors = {name: tensor.to(dtype) for name, tensor in flat(state).items()}
    if suffix:
        save_file(tensors, tmp_path / "a.safetensors")
    file = IPAdapterCheckpoint.open(tmp_path / "a.safetensors" if suffix else tensors)
    assert {tensor.dtype for tensor in file.read_projection().values()} == {dtype}


def test_a_projection_of_an_unknown_type_is_rejected(state):
    with pytest.raises(CheckpointError, match="expected exactly one of"):
        IPAdapterCheckpoint.open({**state, "image_proj": {"something.weight": torch.zeros(1)}})


def test_a_resampler_without_whole_heads_is_rejected(state):
    projection = plus_projection()
    for depth in range(4):
        projection[f"layers.{depth}.0.to_q.weight"] = torch.zeros(100, 64)
        projection[f"layers.{depth}.0.to_kv.weight"] = torch.zeros(200, 64)
        projection[f"layers.{depth}.0.to_out.weight"] = torch.zeros(64, 100)
    with pytest.raises(CheckpointError, match="do not form heads 64 wide"):
        IPAdapterCheckpoint.open({**state, "image_proj": projection})


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 32, 64, 128]), max_size=3)
NAMES = st.sampled_from(
    [
        *(f"image_proj.{name}" for make in (base_projection, full_projection, plus_projection) for name in make()),
        *(f"ip_adapter.{n}.to_{x}_ip.weight" for n in (0, 1, 3, 1000) for x in "kv"),
        "ip_adapter.x.to_k_ip.weight",
        "image_proj.layers.99999999999.0.norm1.weight",
        f"unet.{next(iter(SDXL.layers))}.processor.to_k_ip.weight",
        "up_blocks.0.attn2.processor.to_k_ip.weight",
    ]
)


@given(st.dictionaries(NAMES | st.text(max_size=20), SIZES, max_size=8), st.booleans())
def test_tensors_of_any_names_and_shapes_are_an_adapter_or_a_checkpoint_error(layers, shapes, with_projection):
    """Half of the cases include a valid projection, so that the later checks are reached too."""
    projection = flat({"image_proj": base_projection()}) if with_projection else {}
    tensors = projection | {name: torch.zeros(shape) for name, shape in shapes.items()}
    with suppress(CheckpointError):
        file = IPAdapterCheckpoint.open(tensors)
        assert file.architecture is None
        assert file.cross_dim > 0
        assert file.embedding_dim > 0
        file.validate_layers(layers)


def test_layers_by_path_that_the_network_does_not_have_are_listed(state, layers):
    dump = flat({"image_proj": state["image_proj"]}) | by_path(layers, state)
    dump["unet.up_blocks.9.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"network: unexpected ip_adapter\.up_blocks\.9\."):
        IPAdapterCheckpoint.open(dump).validate_layers(layers)
