"""State dicts in files of all formats, and the errors for files that cannot be read."""

import pickle
import zipfile
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from instantstyle.errors import CheckpointError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.loaders.state_dict import check_path, open_state_dict

from ..conftest import base_projection
from .test_ip_adapter_checkpoint import flat


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "bare pickle"])
def test_a_bin_file_of_tensors_is_read(tmp_path, state, layers, legacy):
    torch.save(state, tmp_path / "a.bin", _use_new_zipfile_serialization=not legacy)
    file = IPAdapterCheckpoint.open(tmp_path / "a.bin")
    file.validate_layers(layers)
    assert file.read_layer(3)[1].equal(state["ip_adapter"]["3.to_v_ip.weight"])


def test_tensors_that_a_trainer_stored_beside_its_own_state_are_read(tmp_path, state, layers):
    torch.save({"epoch": 1, "global_step": 3, "state_dict": state}, tmp_path / "a.ckpt")
    file = IPAdapterCheckpoint.open(tmp_path / "a.ckpt")
    file.validate_layers(layers)
    assert file.read_layer(3)[1].equal(state["ip_adapter"]["3.to_v_ip.weight"])


def test_the_format_is_detected_from_the_content_not_from_the_suffix(saved, layers):
    IPAdapterCheckpoint.open(saved.rename(saved.with_suffix(".bin"))).validate_layers(layers)


class Payload:
    def __reduce__(self):
        return print, ("code in a pickle ran",)


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state, 2))])
def test_a_pickle_that_contains_code_is_rejected_and_not_run(tmp_path, capsys, write):
    write({"image_proj": Payload()}, tmp_path / "evil.bin")
    with pytest.raises(CheckpointError, match="was rejected, because loading it could run code"):
        IPAdapterCheckpoint.open(tmp_path / "evil.bin")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"image_proj": {"proj.weight": "text"}}, [1, 2]])
def test_values_other_than_tensors_are_rejected(tmp_path, content):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match=r"values that are not tensors|not a dictionary of tensors"):
        IPAdapterCheckpoint.open(tmp_path / "a.bin")


@pytest.mark.parametrize("kept", [0, 5, 400])
def test_a_truncated_file_is_rejected(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is not a complete"):
        IPAdapterCheckpoint.open(saved)


def test_a_missing_file_is_rejected(tmp_path):
    with pytest.raises(CheckpointError, match=r"no adapter file .*gone\.bin"):
        IPAdapterCheckpoint.open(tmp_path / "gone.bin")


@given(st.dictionaries(st.text(max_size=9) | st.integers(), st.integers() | st.none() | st.just({}), max_size=4))
def test_a_dictionary_of_other_values_is_a_checkpoint_error(state):
    with pytest.raises(CheckpointError):
        IPAdapterCheckpoint.open(state)


@given(
    st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", (20).to_bytes(8, "little") + b"{"]),
    st.binary(max_size=99),
)
def test_a_file_of_random_bytes_is_a_checkpoint_error(tmp_path_factory, head, rest):
    path = tmp_path_factory.mktemp("any") / "a.bin"
    path.write_bytes(head + rest)
    with pytest.raises(CheckpointError):
        IPAdapterCheckpoint.open(path)


@given(st.binary(min_size=1, max_size=40), st.floats(0, 0.99))
def test_a_file_with_an_overwritten_header_is_a_checkpoint_error_or_readable(tmp_path_factory, overwritten, where):
    path = tmp_path_factory.mktemp("overwritten") / "a.safetensors"
    save_file(flat({"image_proj": base_projection(4, 4)}), path)
    content = bytearray(path.read_bytes())
    begin = int(where * 400)
    content[begin : begin + len(overwritten)] = overwritten
    path.write_bytes(bytes(content))
    with suppress(CheckpointError):
        IPAdapterCheckpoint.open(path)


def test_a_tensor_that_was_read_does_not_change_when_the_file_is_overwritten(tmp_path):
    path = tmp_path / "adapter.safetensors"
    save_file({"one": torch.ones(4)}, path)
    read = open_state_dict(path).read("one")
    with path.open("r+b") as file:
        file.seek(-16, 2)
        file.write(bytes(16))
    assert read.equal(torch.ones(4))


def test_a_file_that_was_deleted_before_a_tensor_is_read_is_named(saved):
    file = IPAdapterCheckpoint.open(saved)
    saved.unlink()
    with pytest.raises(CheckpointError, match=r"can no longer be read .*ip_adapter\.1\.to_k_ip\.weight"):
        file.read_layer(1)


def ring():
    state = {}
    state["image_proj"] = state
    return state


def lattice():
    """Mappings that share their parts: 2¹⁴ paths to one tensor."""
    state = {"weight": torch.ones(1)}
    for _ in range(14):
        state = {"a": state, "b": state}
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ring(), "is not a state dict: at most 16 levels of mappings"),
        (lattice(), "is not an IP-Adapter: it has no image_proj"),
        ({"a": lattice(), "b": lattice(), "c": lattice(), "d": lattice()}, "is not a state dict"),
        ({"image_proj": torch.eye(4).to_sparse()}, "tensors that are sparse, quantized or expanded: image_proj; save"),
        ({"image_proj": torch.ones(1).expand(2**20, 2**10)}, "are sparse, quantized or expanded"),
        ({"x" * 1001: torch.ones(1)}, "names of 1,000 characters"),
        ({f"n{number}": number for number in range(1000)}, "values that are not tensors: n0, .*, and 990 more"),
    ],
)
def test_a_state_dict_that_cannot_be_read_as_dense_tensors_is_rejected(tmp_path, state, message):
    torch.save(state, tmp_path / "a.bin")
    for source in (state, tmp_path / "a.bin"):
        with pytest.raises(CheckpointError, match=message) as caught:
            IPAdapterCheckpoint.open(source)
        assert len(str(caught.value)) < 1500


def test_a_compressed_bin_file_is_rejected_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    with pytest.raises(CheckpointError, match=r"is not a complete \.bin file \(it has compressed parts\)"):
        IPAdapterCheckpoint.open(tmp_path / "a.bin")


@pytest.mark.parametrize("path", ["x" * 300, "/proc/self/mem", "a\0b", "/dev/zero", "/"])
def test_a_path_that_the_system_refuses_is_rejected_in_a_short_line(path):
    with pytest.raises(CheckpointError) as caught:
        IPAdapterCheckpoint.open(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[" * 5000, "is not a complete"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,' + b"9" * 5000 + b"]}}", "too many digits"),
        (b"[]", "is not a complete"),
        (b'{"down_blocks.%s.attentions.0.attn2.to_k_ip.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
         % (b"1" * 5000), "is not an IP-Adapter"),
    ],
)  # fmt: skip
def test_a_safetensors_header_from_anywhere_is_rejected_in_a_short_line(tmp_path, header, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=message) as caught:
        IPAdapterCheckpoint.open(path)
    assert len(str(caught.value)) < 1000


def test_a_header_is_limited_before_it_is_read(tmp_path):
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little") + b"{")
        file.truncate(10**12)
    with pytest.raises(CheckpointError, match="its header is too long"):
        IPAdapterCheckpoint.open(tmp_path / "a.safetensors")


def test_what_is_neither_a_file_nor_tensors_is_rejected():
    with pytest.raises(CheckpointError, match=r"is a Linear; pass a \.safetensors or \.bin file, or a state dict"):
        check_path(torch.nn.Linear(1, 1))
