"""The command with FLUX.1 in a single file."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from instantstyle.batch import ManifestError, read_manifest
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.models.registry import CARDS

from ..models.conftest import hub as hub
from ..models.original_layout import narrow_conversion, write_flux
from ..parity.flux import WIDTH, save_flux

SMALL = ("--width", 64, "--height", 48, "--steps", 2, "--seed", 1)

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer_folder, image_encoder) -> Path:
    """A folder as FLUX.1-dev's with a single file for the transformer's weights, an adapter and its image encoder."""
    folder = tmp_path_factory.mktemp("flux")
    pipe = save_flux(folder, tokenizer_folder, image_encoder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    save_file(write_flux(pipe.transformer.state_dict()), folder / "flux1-dev.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    narrow_conversion(monkeypatch, "FluxTransformer2DModel", WIDTH)


@pytest.fixture
def words(folder, tmp_path, reference) -> tuple[object, ...]:
    reference.save(tmp_path / "ink.png")
    model = ("--model", folder / "flux1-dev.safetensors")
    return ("generate", "a", "--style", tmp_path / "ink.png", "--blocks", "all", *model, *SMALL, "-o", "out.png")


def test_an_image_is_generated_planned_and_reproduced(run, folder, words):
    planned = run(*words, "--plan")
    assert planned.code == 0, planned.err
    assert "flux1-dev.safetensors" in planned.out
    done = run(*words)
    assert done.code == 0, done.err
    assert done.err.count("\n") == 1, "beside the hint on the size"
    recipe = read_recipe("out.png")
    assert recipe.model == str(folder / "flux1-dev.safetensors")
    assert len(recipe.model_sha256 or "") == 64
    assert "bit-identical" in run("reproduce", "out.png").out
    assert run("doctor", folder / "flux1-dev.safetensors").code == 0


def test_a_file_that_was_moved_is_found_by_its_hash_and_another_one_is_refused(run, folder, words, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    path = moved / "flux1-dev.safetensors"
    done = run(*(path if word == folder / path.name else word for word in words))
    assert done.code == 0, done.err
    path.rename(moved / "renamed.safetensors")
    refused = run("reproduce", "out.png")
    assert refused.code == 2
    assert "name its folder with --references" in refused.err
    assert "bit-identical" in run("reproduce", "out.png", "--references", moved).out
    state = load_file(moved / "renamed.safetensors")
    save_file({**state, "img_in.bias": state["img_in.bias"] + 1}, path)
    (moved / "renamed.safetensors").unlink()
    refused = run("reproduce", "out.png")
    assert refused.code == 2
    assert "is another file than the image was generated with" in refused.err


def test_a_row_of_a_batch_is_of_the_file_that_it_names(folder, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    path = tmp_path / "jobs.jsonl"
    model = str(folder / "flux1-dev.safetensors")
    fields = {"prompt": "a", "seed": 1, "style": "ink.png", "blocks": "all", "model": model}
    path.write_text(json.dumps(fields))
    [row] = read_manifest(path)
    digest = sha256(Path(model).read_bytes()).hexdigest()
    assert row.recipe.model_sha256 == digest
    path.write_text(json.dumps({**fields, "model_sha256": "0" * 64}))
    with pytest.raises(ManifestError, match=r"is another file than the image was generated with \(its sha256 is"):
        read_manifest(path)


def test_what_a_file_alone_lacks_is_said_in_one_line(run, hub, folder, words, tmp_path):
    alone = tmp_path / "flux1-dev.safetensors"
    shutil.copy(folder / alone.name, alone)
    words = tuple(alone if word == folder / alone.name else word for word in words)
    refused = run(*words, "--adapter", "flux-dev")
    assert refused.code == 2
    assert f"{alone} is incomplete: 16 files of black-forest-labs/FLUX.1-dev" in refused.err
    assert "or from the file's own folder if that has a model_index.json" in refused.err
    assert refused.err.count("\n") == 1
    refused = run(*words)
    assert refused.code == 2
    assert 'a model whose adapter is for the same base, such as "flux-dev".' in refused.err
    reported = run("doctor", alone, "--adapter", "flux-dev")
    assert reported.code == 1
    assert CARDS["flux-dev"].pipeline in reported.out
