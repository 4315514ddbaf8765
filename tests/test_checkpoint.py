import pickle

import pytest
import torch
from safetensors.torch import save_file

from instantstyle.blocks import Layer
from instantstyle.checkpoint import AdapterFile
from instantstyle.errors import CheckpointError

from .conftest import CROSS_DIM, base_projection, full_projection, plus_projection

# How many cross-attentions each SDXL block has, in the order in which diffusers lists them.
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
    return [Layer(2 * place + 1, name, width, cross_dim) for place, name in enumerate(names)]


def flat(state):
    return {f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}


@pytest.fixture
def saved(tmp_path, state):
    path = tmp_path / "ip-adapter.safetensors"
    save_file(flat(state), path)
    return path


@pytest.mark.parametrize(
    ("projection", "facts"),
    [
        (base_projection, ("base", 4, 24)),
        (plus_projection, ("plus", 6, 16)),
        (full_projection, ("full", None, 16)),
    ],
)
def test_kind_tokens_and_widths_are_found_from_the_tensors(state, projection, facts):
    file = AdapterFile.open({**state, "image_proj": projection()})
    assert (file.kind, file.tokens, file.embedding_dim) == facts
    assert file.cross_dim == CROSS_DIM


def test_a_fitting_adapter_passes(saved, layers):
    AdapterFile.open(saved).check(layers)


def test_checking_reads_no_tensor(saved, layers):
    file = AdapterFile.open(saved)
    file.check(layers)
    assert file.tensors_read == ()


def test_style_alone_reads_the_twenty_tensors_69_to_87_of_sdxl(tmp_path):
    tensors = {
        f"ip_adapter.{n}.to_{x}_ip.weight": torch.zeros(8, CROSS_DIM) for n in range(1, 140, 2) for x in "kv"
    }
    save_file(flat({"image_proj": base_projection()}) | tensors, tmp_path / "sdxl.safetensors")
    file = AdapterFile.open(tmp_path / "sdxl.safetensors")
    file.check(sdxl_layers())
    for layer in sdxl_layers():
        if str(layer.block) == "up_blocks.0.attentions.1":
            file.read_layer(layer.number)
    expected = {f"ip_adapter.{n}.to_{x}_ip.weight" for n in range(69, 89, 2) for x in "kv"}
    assert len(expected) == 20
    assert set(file.tensors_read) == expected


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "bare pickle"])
def test_a_bin_file_of_tensors_is_read(tmp_path, state, layers, legacy):
    torch.save(state, tmp_path / "a.bin", _use_new_zipfile_serialization=not legacy)
    file = AdapterFile.open(tmp_path / "a.bin")
    file.check(layers)
    assert file.read_layer(3)[1].equal(state["ip_adapter"]["3.to_v_ip.weight"])


def test_files_are_known_by_content_not_by_ending(saved, layers):
    AdapterFile.open(saved.rename(saved.with_suffix(".bin"))).check(layers)


def test_names_that_training_scripts_write_are_understood(state, layers):
    dump = {f"image_proj_model.{name}": tensor for name, tensor in state["image_proj"].items()}
    dump |= {f"adapter_modules.{name}": tensor for name, tensor in state["ip_adapter"].items()}
    AdapterFile.open(dump).check(layers)


class Payload:
    def __reduce__(self):
        return print, ("code in a pickle ran",)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, capsys, write):
    write({"image_proj": Payload()}, tmp_path / "evil.bin")
    with pytest.raises(CheckpointError, match="refused"):
        AdapterFile.open(tmp_path / "evil.bin")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"image_proj": {"proj.weight": "text"}}, [1, 2]])
def test_anything_but_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="refused"):
        AdapterFile.open(tmp_path / "a.bin")


@pytest.mark.parametrize("kept", [0, 5, 400])
def test_a_file_cut_short_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="not a whole"):
        AdapterFile.open(saved)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no adapter file .*gone\.bin"):
        AdapterFile.open(tmp_path / "gone.bin")


@pytest.mark.parametrize("part", ["image_proj", "ip_adapter"])
def test_a_file_that_lacks_a_whole_part_is_refused(state, part):
    with pytest.raises(CheckpointError, match=f"no {part} tensors"):
        AdapterFile.open({**state, part: {}})


def test_missing_misshapen_and_extra_tensors_are_all_listed_at_once(state, layers):
    tensors = dict(state["ip_adapter"])
    del tensors["1.to_k_ip.weight"], tensors["5.to_v_ip.weight"]
    tensors["7.to_k_ip.weight"] = torch.zeros(3, CROSS_DIM)
    tensors["99.to_k_ip.weight"] = torch.zeros(8, CROSS_DIM)
    with pytest.raises(CheckpointError) as refused:
        AdapterFile.open({**state, "ip_adapter": tensors}).check(layers)
    faults = str(refused.value).partition("network: ")[2].split("; ")
    assert [fault.split(",")[0].rstrip(".") for fault in faults] == [
        "missing ip_adapter.1.to_k_ip.weight",
        "missing ip_adapter.5.to_v_ip.weight",
        "ip_adapter.7.to_k_ip.weight is [3",
        "extra ip_adapter.99.to_k_ip.weight",
    ]


def test_an_adapter_of_another_base_is_refused_with_both_cross_dims():
    tensors = {f"1.to_{x}_ip.weight": torch.zeros(8, 768) for x in "kv"}
    file = AdapterFile.open({"image_proj": base_projection(cross_dim=768), "ip_adapter": tensors})
    with pytest.raises(CheckpointError, match=r"768 \(Stable Diffusion 1.5\); the network has 2048 \(SDXL\)"):
        file.check(sdxl_layers(cross_dim=2048))


def test_a_projection_with_parts_missing_is_refused_with_their_names(state):
    projection = plus_projection()
    del projection["layers.2.0.to_kv.weight"], projection["norm_out.bias"]
    with pytest.raises(CheckpointError, match=r"layers\.2\.0\.to_kv\.weight, image_proj\.norm_out\.bias"):
        AdapterFile.open({**state, "image_proj": projection})


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ip_adapter.0.to_q_lora.down.weight", "FaceID"),
        ("image_proj.perceiver_resampler.proj_in.weight", "FaceID-Plus"),
        ("image_proj.time_embedding.linear_1.weight", "SD3.5"),
        ("double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight", "FLUX"),
    ],
)
def test_foreign_families_are_refused_by_name(state, name, family):
    with pytest.raises(CheckpointError, match=family):
        AdapterFile.open(flat(state) | {name: torch.zeros(1)})


def test_a_two_layer_projection_of_a_vector_is_refused_as_faceid(state):
    projection = {f"{name}.weight": torch.zeros(4, 4) for name in ("proj.0", "proj.2", "norm")}
    with pytest.raises(CheckpointError, match="FaceID"):
        AdapterFile.open({**state, "image_proj": projection})


def test_a_projection_of_no_known_kind_is_refused(state):
    with pytest.raises(CheckpointError, match="expected exactly one of"):
        AdapterFile.open({**state, "image_proj": {"something.weight": torch.zeros(1)}})
