"""A probe file in the blocks of a row counts by what it says when the manifest is read."""

import json
from importlib import import_module

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from instantstyle.batch import BatchRow, ManifestError, read_manifest, row_builder
from instantstyle.recipe import Recipe

from ..unet.test_probe_file import LAYOUT, STYLE, probe_file
from .conftest import generate_into, read_files
from .stub_backend import StubBackend


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a manifest of one row with these blocks for SDXL."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found").mkdir()
    probe_file(tmp_path / "found" / "probe.json")
    Image.new("RGB", (8, 8)).save(tmp_path / "ink.png")
    # Validating a model asks for its files, which are not on this machine.
    monkeypatch.setattr(import_module("instantstyle.models.load"), "validate_model", lambda *_, **__: None)

    def read_row(blocks, folder=tmp_path, defaults=None, **fields) -> BatchRow:
        row = {"prompt": "a", "style": "ink.png", **({} if blocks is None else {"blocks": blocks}), **fields}
        (folder / "jobs.jsonl").write_text(json.dumps(row))
        [read] = read_manifest(folder / "jobs.jsonl", {"seed": 0, "model": "sdxl", **(defaults or {})})
        return read

    return read_row


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("found/probe.json", "+".join(STYLE)),
        ("found/probe.json:layout", LAYOUT[0]),
        (["style", "found/probe.json:layout"], ["style", *LAYOUT]),
        ({"found/probe.json": 0.5}, {"+".join(STYLE): 0.5}),
    ],
)
def test_a_row_has_the_blocks_and_the_key_of_what_the_file_says(read, blocks, expected):
    row = read(blocks)
    assert row.recipe.blocks == (tuple(expected) if isinstance(expected, list) else expected)
    assert row.key == read(expected).key


def test_a_lora_acts_in_the_blocks_of_what_the_file_says(read, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "ink.safetensors")
    probed, named = (
        read("style", loras=["ink.safetensors", f"ink.safetensors=.5@{blocks}"])
        for blocks in ("found/probe.json", "+".join(STYLE))
    )
    assert [lora.blocks for lora in probed.recipe.loras] == [None, "+".join(STYLE)]
    assert probed.key == named.key


def test_a_changed_file_makes_another_row_and_a_moved_one_does_not(read, tmp_path, folder):
    first = read("found/probe.json")
    assert [outcome.row for outcome in generate_into(folder, [first], StubBackend())] == [first]
    (tmp_path / "found" / "probe.json").rename(tmp_path / "other.json")
    assert generate_into(folder, [read("other.json")], StubBackend()) == []
    probe_file(tmp_path / "other.json", roles={"style": {"blocks": STYLE[:1]}})
    changed = read("other.json")
    assert changed.key != first.key
    assert [outcome.row for outcome in generate_into(folder, [changed], StubBackend())] == [changed]
    assert {first.file, changed.file} <= read_files(folder).keys()


def test_a_file_that_changes_after_the_manifest_was_read_does_not_change_the_row(read, tmp_path):
    row = read("found/probe.json")
    (tmp_path / "found" / "probe.json").write_text("damaged")
    assert row.recipe.blocks == "+".join(STYLE)
    assert row.key_of_image(Recipe.model_validate({**row.recipe.model_dump(), "height": 64})) == row.key


def test_a_file_is_found_beside_the_manifest_and_that_of_an_option_in_the_working_folder(read, tmp_path):
    probe_file(tmp_path / "found" / "own.json", roles={"style": {"blocks": STYLE[1:]}})
    probe_file(tmp_path / "own.json")
    assert read("own.json", tmp_path / "found").recipe.blocks == STYLE[1]
    assert read(None, tmp_path / "found", {"blocks": "own.json"}).recipe.blocks == "+".join(STYLE)


def test_a_file_is_read_once_for_all_rows(read, tmp_path, monkeypatch):
    calls = []
    resolve = row_builder.resolve_block_spec
    monkeypatch.setattr(row_builder, "resolve_block_spec", lambda *words: calls.append(words) or resolve(*words))
    read("found/probe.json")
    line = (tmp_path / "jobs.jsonl").read_text()
    (tmp_path / "jobs.jsonl").write_text("\n".join([line] * 20))
    calls.clear()
    assert len(read_manifest(tmp_path / "jobs.jsonl", {"seed": 0, "model": "sdxl"})) == 20
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ("nowhere.json", "nowhere.json does not exist"),
        ("found/probe.json:colour", "proposes no blocks for 'colour'"),
        ("x" * 300 + ".json", "x" * 100),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_of_its_row(read, blocks, reason):
    with pytest.raises(ManifestError, match=r"line 1: .*" + reason.replace(".", r"\.")):
        read(blocks)


def test_a_probe_of_another_network_is_refused_for_a_model_in_a_folder(read, model, tmp_path):
    probe_file(tmp_path / "found" / "probe.json", settings={"network": "sd15", "blocks": STYLE})
    with pytest.raises(ManifestError, match="is a probe of another network: it was made with sd15"):
        read("found/probe.json", defaults={"model": str(model)})
