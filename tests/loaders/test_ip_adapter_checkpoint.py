import pickle
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from instantstyle.errors import CheckpointError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.loaders.state_dict import open_state_dict
from instantstyle.unet.architectures import MINI, SD15, SDXL
from instantstyle.unet.blocks import Layer

from ..conftest import CROSS_DIM, base_projection, full_projection, plus_projection

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
    file = IPAdapterCheckpoint.open({**state, "image_proj": projection()})
    assert (file.kind, file.tokens, file.embedding_dim) == facts
    assert file.cross_dim == CROSS_DIM


def test_a_fitting_adapter_passes(saved, layers):
    IPAdapterCheckpoint.open(saved).check(layers)


def test_checking_reads_no_tensor(saved, layers):
    file = IPAdapterCheckpoint.open(saved)
    file.check(layers)
    assert file.tensors_read == ()


def test_style_alone_reads_the_twenty_tensors_69_to_87_of_sdxl(tmp_path):
    tensors = {
        f"ip_adapter.{n}.to_{x}_ip.weight": torch.zeros(8, CROSS_DIM) for n in range(1, 140, 2) for x in "kv"
    }
    save_file(flat({"image_proj": base_projection()}) | tensors, tmp_path / "sdxl.safetensors")
    file = IPAdapterCheckpoint.open(tmp_path / "sdxl.safetensors")
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
    file = IPAdapterCheckpoint.open(tmp_path / "a.bin")
    file.check(layers)
    assert file.read_layer(3)[1].equal(state["ip_adapter"]["3.to_v_ip.weight"])


def test_files_are_known_by_content_not_by_ending(saved, layers):
    IPAdapterCheckpoint.open(saved.rename(saved.with_suffix(".bin"))).check(layers)


def by_path(layers, state):
    """The adapter's layers as `unet.state_dict()` names them."""
    names = {layer.number: layer.name for layer in layers}
    return {
        f"unet.{names[int(number)]}.{rest}": tensor
        for number, _, rest, tensor in (
            (*name.partition("."), tensor) for name, tensor in state["ip_adapter"].items()
        )
    }


@pytest.mark.parametrize("form", ["numbers", "paths", "both, and the network"])
def test_dumps_of_training_scripts_are_the_same_adapter(state, layers, form):
    dump = {f"image_proj_model.{name}": tensor for name, tensor in state["image_proj"].items()}
    numbered = {f"adapter_modules.{name}": tensor for name, tensor in state["ip_adapter"].items()}
    if form != "paths":
        dump |= numbered
    if form != "numbers":
        dump |= by_path(layers, state)
    if form.startswith("both"):
        dump["unet.conv_in.weight"] = torch.zeros(1)
    file = IPAdapterCheckpoint.open(dump)
    file.check(layers)
    for layer in layers:
        key, value = file.read_layer(layer.number)
        assert key.equal(state["ip_adapter"][f"{layer.number}.to_k_ip.weight"])
        assert value.equal(state["ip_adapter"][f"{layer.number}.to_v_ip.weight"])


@pytest.mark.parametrize("family", [SDXL, SD15, MINI], ids=lambda family: family.name)
def test_the_base_is_found_from_the_layers(family):
    # Empty tensors: shapes are all that is looked at.
    cross_dim = family.cross_dim or 192
    tensors = {
        f"{2 * place + 1}.to_{x}_ip.weight": torch.empty(width, cross_dim, device="meta")
        for place, width in enumerate(family.layers.values())
        for x in "kv"
    }
    projection = base_projection(cross_dim=cross_dim)
    assert IPAdapterCheckpoint.open({"image_proj": projection, "ip_adapter": tensors}).base is family


def test_an_unknown_base_is_none(state):
    assert IPAdapterCheckpoint.open(state).base is None


def sdxl_sixteenth(projection):
    """An adapter file of SDXL's whole layout, each width a sixteenth: proportions are the real ones."""
    layers = {
        f"ip_adapter.{2 * place + 1}.to_{x}_ip.weight": torch.zeros(width // 16, 2048 // 16).half()
        for place, width in enumerate(SDXL.layers.values())
        for x in "kv"
    }
    return {f"image_proj.{name}": tensor.half() for name, tensor in projection.items()} | layers


@pytest.mark.parametrize("dim", [1280 // 16, 1024 // 16], ids=["bigG", "ViT-H"])
def test_style_reads_at_most_a_fifth_of_the_file(tmp_path, dim):
    path = tmp_path / "sdxl.safetensors"
    save_file(sdxl_sixteenth(base_projection(dim, 2048 // 16)), path)
    file = IPAdapterCheckpoint.open(path)
    file.read_projection()
    for number in range(69, 89, 2):
        file.read_layer(number)
    header = file.bytes_read - file.size_of(range(69, 89, 2))
    assert 0 < header < 20_000
    # At a sixteenth of the widths the tensors are a 256th, but the header is as long as ever.
    share = (file.bytes_read - header) / (path.stat().st_size - header)
    assert 0.17 < share < 0.18
    assert file.bytes_read / path.stat().st_size < 0.2


class Payload:
    def __reduce__(self):
        return print, ("code in a pickle ran",)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, capsys, write):
    write({"image_proj": Payload()}, tmp_path / "evil.bin")
    with pytest.raises(CheckpointError, match="refused"):
        IPAdapterCheckpoint.open(tmp_path / "evil.bin")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"image_proj": {"proj.weight": "text"}}, [1, 2]])
def test_anything_but_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="refused"):
        IPAdapterCheckpoint.open(tmp_path / "a.bin")


@pytest.mark.parametrize("kept", [0, 5, 400])
def test_a_file_cut_short_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="not a whole"):
        IPAdapterCheckpoint.open(saved)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no adapter file .*gone\.bin"):
        IPAdapterCheckpoint.open(tmp_path / "gone.bin")


@pytest.mark.parametrize("part", ["image_proj", "ip_adapter"])
def test_a_file_that_lacks_a_whole_part_is_refused(state, part):
    with pytest.raises(CheckpointError, match=f"no {part} tensors"):
        IPAdapterCheckpoint.open({**state, part: {}})


def test_missing_misshapen_and_extra_tensors_are_all_listed_at_once(state, layers):
    tensors = dict(state["ip_adapter"])
    del tensors["1.to_k_ip.weight"], tensors["5.to_v_ip.weight"]
    tensors["7.to_k_ip.weight"] = torch.zeros(3, CROSS_DIM)
    tensors["99.to_k_ip.weight"] = torch.zeros(8, CROSS_DIM)
    with pytest.raises(CheckpointError) as refused:
        IPAdapterCheckpoint.open({**state, "ip_adapter": tensors}).check(layers)
    faults = str(refused.value).partition("network: ")[2].split("; ")
    assert [fault.split(",")[0].rstrip(".") for fault in faults] == [
        "missing ip_adapter.1.to_k_ip.weight",
        "missing ip_adapter.5.to_v_ip.weight",
        "ip_adapter.7.to_k_ip.weight is [3",
        "extra ip_adapter.99.to_k_ip.weight",
    ]


def test_an_adapter_of_another_base_is_refused_with_both_cross_dims():
    tensors = {f"1.to_{x}_ip.weight": torch.zeros(8, 768) for x in "kv"}
    file = IPAdapterCheckpoint.open({"image_proj": base_projection(cross_dim=768), "ip_adapter": tensors})
    with pytest.raises(CheckpointError, match=r"768 \(Stable Diffusion 1.5\); the network has 2048 \(SDXL\)"):
        file.check(sdxl_layers(cross_dim=2048))


def test_a_projection_with_parts_missing_is_refused_with_their_names(state):
    projection = plus_projection()
    del projection["layers.2.0.to_kv.weight"], projection["norm_out.bias"]
    with pytest.raises(
        CheckpointError, match=r"norm_out\.bias; missing image_proj\.layers\.2\.0\.to_kv\.weight"
    ):
        IPAdapterCheckpoint.open({**state, "image_proj": projection})


def zeros(shapes):
    return {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}


KOLORS = zeros({"image_proj.proj_in.weight": (2048, 1024), "image_proj.latents": (1, 16, 2048)})
PERCEPTRON = zeros({f"image_proj.{name}.weight": (4, 4) for name in ("proj.0", "proj.2", "norm")})


@pytest.mark.parametrize(
    ("tensors", "family"),
    [
        (zeros({"ip_adapter.0.to_q_lora.down.weight": (1,)}), "IP-Adapter-FaceID,"),
        (zeros({"image_proj.perceiver_resampler.proj_in.weight": (1,)}), "FaceID-Plus"),
        (
            zeros(
                {"image_proj.perceiver_resampler.norm.weight": (1,), "ip_adapter.0.to_q_lora.up.weight": (1,)}
            ),
            "FaceID-Plus",
        ),
        (PERCEPTRON, "IP-Adapter-FaceID,"),
        (zeros({"image_proj.proj_in.weight": (1280, 512)}), "InstantID"),
        (zeros({"image_proj.time_embedding.linear_1.weight": (1,)}), r"SD3\.5"),
        (zeros({"ip_adapter.0.norm_ip.linear.weight": (1,)}), r"SD3\.5"),
        (
            zeros({"double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight": (1,)}),
            r"FLUX \(XLabs\)",
        ),
        (PERCEPTRON | zeros({"ip_adapter.0.to_k_ip.weight": (3072, 4096)}), r"FLUX \(InstantX\)"),
        (KOLORS, "Kolors"),
    ],
)
def test_foreign_families_are_refused_by_name(state, tensors, family):
    with pytest.raises(CheckpointError, match=family):
        IPAdapterCheckpoint.open({**flat({**state, "image_proj": {}}), **tensors})


def test_a_projection_of_no_known_kind_is_refused(state):
    with pytest.raises(CheckpointError, match="expected exactly one of"):
        IPAdapterCheckpoint.open({**state, "image_proj": {"something.weight": torch.zeros(1)}})


def test_a_resampler_whose_heads_do_not_fit_is_refused(state):
    projection = plus_projection()
    for depth in range(4):
        projection[f"layers.{depth}.0.to_q.weight"] = torch.zeros(100, 64)
        projection[f"layers.{depth}.0.to_kv.weight"] = torch.zeros(200, 64)
        projection[f"layers.{depth}.0.to_out.weight"] = torch.zeros(64, 100)
    with pytest.raises(CheckpointError, match="no heads 64 wide"):
        IPAdapterCheckpoint.open({**state, "image_proj": projection})


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 32, 64, 128]), max_size=3)
NAMES = st.sampled_from(
    [
        *(
            f"image_proj.{name}"
            for make in (base_projection, full_projection, plus_projection)
            for name in make()
        ),
        *(f"ip_adapter.{n}.to_{x}_ip.weight" for n in (0, 1, 3, 1000) for x in "kv"),
        "ip_adapter.x.to_k_ip.weight",
        "image_proj.layers.99999999999.0.norm1.weight",
        f"unet.{next(iter(SDXL.layers))}.processor.to_k_ip.weight",
        "up_blocks.0.attn2.processor.to_k_ip.weight",
    ]
)


@given(st.dictionaries(NAMES | st.text(max_size=20), SIZES, max_size=8), st.booleans())
def test_tensors_of_any_names_and_shapes_are_an_adapter_or_a_checkpoint_error(layers, shapes, whole):
    """Beside a whole projection, so that more than the first check is reached, and alone."""
    projection = flat({"image_proj": base_projection()}) if whole else {}
    tensors = projection | {name: torch.zeros(shape) for name, shape in shapes.items()}
    with suppress(CheckpointError):
        file = IPAdapterCheckpoint.open(tensors)
        assert file.base is None
        assert file.cross_dim > 0
        assert file.embedding_dim > 0
        file.check(layers)


@given(
    st.dictionaries(st.text(max_size=9) | st.integers(), st.integers() | st.none() | st.just({}), max_size=4)
)
def test_a_dictionary_of_anything_is_a_checkpoint_error(state):
    with pytest.raises(CheckpointError):
        IPAdapterCheckpoint.open(state)


@given(
    st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", (20).to_bytes(8, "little") + b"{"]),
    st.binary(max_size=99),
)
def test_a_file_of_any_bytes_is_a_checkpoint_error(tmp_path_factory, head, rest):
    path = tmp_path_factory.mktemp("any") / "a.bin"
    path.write_bytes(head + rest)
    with pytest.raises(CheckpointError):
        IPAdapterCheckpoint.open(path)


@given(st.binary(min_size=1, max_size=40), st.floats(0, 0.99))
def test_a_file_with_a_hole_torn_into_its_header_is_a_checkpoint_error_or_whole(
    tmp_path_factory, torn, where
):
    path = tmp_path_factory.mktemp("torn") / "a.safetensors"
    save_file(flat({"image_proj": base_projection(4, 4)}), path)
    content = bytearray(path.read_bytes())
    begin = int(where * 400)
    content[begin : begin + len(torn)] = torn
    path.write_bytes(bytes(content))
    with suppress(CheckpointError):
        IPAdapterCheckpoint.open(path)


def test_layers_by_path_that_the_network_lacks_are_named(state, layers):
    dump = flat({"image_proj": state["image_proj"]}) | by_path(layers, state)
    dump["unet.up_blocks.9.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"network: extra ip_adapter\.up_blocks\.9\."):
        IPAdapterCheckpoint.open(dump).check(layers)


def test_what_was_read_stays_when_the_file_is_written_over(tmp_path):
    path = tmp_path / "adapter.safetensors"
    save_file({"one": torch.ones(4)}, path)
    read = open_state_dict(path).read("one")
    with path.open("r+b") as file:
        file.seek(-16, 2)
        file.write(bytes(16))
    assert read.equal(torch.ones(4))


def test_a_file_that_is_gone_when_a_tensor_is_wanted_says_which(saved):
    file = IPAdapterCheckpoint.open(saved)
    saved.unlink()
    with pytest.raises(CheckpointError, match=r"can no longer be read .*ip_adapter\.1\.to_k_ip\.weight"):
        file.read_layer(1)
