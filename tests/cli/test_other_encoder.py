"""A style of another image encoder of the same width is refused before a model is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import instantstyle
from instantstyle import Style, StyleError
from instantstyle.batch import ManifestError, read_manifest
from instantstyle.core.encoder_files import read_encoder_identity
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.generation.validate import validate
from instantstyle.recipe import Recipe

from ..conftest import make_image_encoder
from ..parity.flux import make_siglip

MESSAGE = r"was made with another image encoder \(CLIP-24 [0-9a-f]{16}\) than the one here \(CLIP-24 [0-9a-f]{16}\)"


@pytest.fixture
def styles(model, reference, tmp_path) -> Path:
    """A folder with a style of the model's encoder, one of another encoder, and the latter bound for the model."""
    styled = instantstyle.load(model)
    own = styled.style(reference)
    own.save(tmp_path / "own.style.safetensors")
    fields: dict[str, Any] = {name: getattr(own, name) for name in ("image_embeds", "unconditional", "encoder")}
    other = Style(**fields, name="other", encoder_fingerprint="0" * 16)
    other.save(tmp_path / "other.style.safetensors")
    bound = styled.bind(own, "style")
    Style(**fields, name="bound", encoder_fingerprint="0" * 16, bindings=bound.bindings).save(
        tmp_path / "bound.style.safetensors"
    )
    reference.save(tmp_path / "ink.png")
    return tmp_path


@pytest.fixture
def _nothing_is_loaded(monkeypatch, styles) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("instantstyle.models.load", fail)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_identity_of_an_encoder_is_read_without_its_layers(tmp_path, kind, dtype):
    model = make_siglip() if kind == "siglip" else make_image_encoder()
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path)
    found = read_encoder_identity(tmp_path)
    opened = ImageEncoder.open(tmp_path)
    assert found == (opened.name, opened.fingerprint)


@pytest.mark.usefixtures("_nothing_is_loaded")
def test_every_command_refuses_it_before_loading(run, model, styles):
    words = ("--model", model, "--steps", 2, "--seed", 1)
    other, own = styles / "other.style.safetensors", styles / "own.style.safetensors"
    for command in (
        ("generate", "a", "--style", other),
        ("generate", "a", "--style", own, "--negative-style", other),
        ("generate", "a", "--style", own, "--style", other),
        ("sweep", "a", "--x", "scale=0,1", "--style", other),
        ("sweep", "a", "--x", f"style={own},{other}"),
    ):
        done = run(*command, *words, "-o", "out.png")
        assert done.code == 2, command
        assert "was made with another image encoder" in done.err, (command, done.err)
        assert len(done.err.splitlines()) == 1, done.err


@pytest.mark.usefixtures("_nothing_is_loaded")
def test_requests_and_rows_refuse_it_before_loading(model, styles, tmp_path):
    fields = {"prompt": "a", "seed": 1, "model": str(model)}
    file, ink = ({"name": str(styles / name)} for name in ("other.style.safetensors", "ink.png"))
    for given in ({"references": [file]}, {"negative_references": [file], "references": [ink]}):
        with pytest.raises(StyleError, match=MESSAGE):
            validate(Recipe.model_validate({**fields, **given}))
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({**fields, "style": file["name"]}))
    with pytest.raises(ManifestError, match=MESSAGE):
        read_manifest(path)


def test_a_bound_style_acts_whichever_encoder_it_was_made_with(run, model, styles):
    words = ("generate", "a", "--model", model, "--steps", 2, "--seed", 1)
    done = run(*words, "--style", styles / "bound.style.safetensors", "-o", "out.png")
    assert done.code == 0, done.err
    assert "bit-identical" in run("reproduce", "out.png").out
    with Image.open("out.png") as image:
        image.load()
    refused = run(*words, "--style", styles / "bound.style.safetensors", "--content-image", styles / "ink.png")
    assert refused.code == 2
    assert "was made with another image encoder" in refused.err
