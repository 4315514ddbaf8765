"""Names of references are resolved to files, and each file is decoded once."""

from hashlib import sha256

import pytest
from PIL import Image

from instantstyle.core.style import Style
from instantstyle.errors import ImageError, JobError, StyleError
from instantstyle.generation import sources as module
from instantstyle.generation.generate import generate, prepare
from instantstyle.generation.load import is_plain
from instantstyle.generation.sources import SourceCache, resolve_image, resolve_source
from instantstyle.generation.validate import validate
from instantstyle.recipe import Recipe

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture
def ink(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    reference.save("ink.png")
    return tmp_path / "ink.png"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """An empty library for each test."""
    folder = tmp_path / "styles"
    folder.mkdir()
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(folder))
    return folder


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """List the images that are decoded and the styles that are loaded."""
    names: list[str] = []
    open_reference, open_mask, load = module.open_reference, module.open_mask, Style.load

    def record(function):
        # Images are decoded from the bytes of a file and its name, styles are loaded by their path.
        return lambda *source: names.append(str(source[-1])) or function(*source)

    monkeypatch.setattr(module, "open_reference", record(open_reference))
    monkeypatch.setattr(module, "open_mask", record(open_mask))
    monkeypatch.setattr(Style, "load", staticmethod(record(load)))
    return names


def test_an_image_is_resolved_to_its_file_and_hash(ink):
    source = resolve_source("ink.png")
    assert (source.name, str(source.path), source.kind) == ("ink.png", "ink.png", "image")
    assert source.sha256 == sha256(ink.read_bytes()).hexdigest()
    assert source.as_reference(0.5).model_dump() == {
        "name": "ink.png",
        "sha256": source.sha256,
        "weight": 0.5,
    }


def test_a_name_of_the_library_is_resolved_to_the_style_file(library, ink, styled):
    path = styled.style(ink).save(library / "ink.style.safetensors")
    source = resolve_source("ink")
    assert (source.name, source.path, source.kind) == ("ink", path, "style")
    assert resolve_image("ink").kind == "image"
    assert resolve_source("ink.png").kind == "image"


def test_a_missing_file_raises_an_error_when_it_is_read():
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        resolve_source("nowhere.png").as_reference()
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        SourceCache().read("nowhere.png")
    with pytest.raises(StyleError, match="nowhere"):
        resolve_source("nowhere")


def test_validating_and_generating_decode_each_file_once(library, ink, styled, decoded):
    styled.style(ink).save(library / "saved.style.safetensors")
    Image.new("RGB", (8, 8)).save("mask.png")
    del decoded[:]
    recipe = Recipe.model_validate(
        {
            **{"prompt": "a", "seed": 1, **TINY, "mask": {"name": "mask.png"}},
            # Not the default, whose adapter would be compared with the style.
            "model": "owner/small",
            "references": [{"name": "ink.png"}, {"name": "saved"}, {"name": "ink.png", "weight": 0.5}],
        }
    )
    sources = SourceCache()
    validate(recipe, sources=sources)
    assert not is_plain(recipe, sources)
    list(generate(styled, recipe, sources=sources))
    assert sorted(decoded) == sorted(["ink.png", "mask.png", str(library / "saved.style.safetensors")])


def test_images_beyond_the_limit_are_decoded_on_every_read(ink, decoded, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 0)
    sources = SourceCache()
    assert sources.read_image("ink.png").tobytes() == sources.read_image("ink.png").tobytes()
    assert decoded == ["ink.png", "ink.png"]


@pytest.mark.parametrize("names", [["ink.png"], ["ink.png", "teal.png"], ["ink.png", "saved"], ["saved"]])
def test_a_prepared_style_equals_that_of_the_files(names, library, ink, styled):
    Image.new("RGB", (9, 9), "teal").save("teal.png")
    styled.style("teal.png").save(library / "saved.style.safetensors")
    references = [{"name": name, "weight": weight} for name, weight in zip(names, (0.7, 0.3), strict=False)]
    recipe = Recipe.model_validate(
        {"prompt": "a", "seed": 1, "references": references, "content": ["a cat"], "content_scale": 0.25}
    )
    prepared = prepare(styled, recipe).style
    expected = styled.style(names, weights=[0.7, 0.3][: len(names)], content=["a cat"], content_scale=0.25)
    assert prepared is not None
    assert prepared.name == expected.name
    assert prepared.embedding().equal(expected.embedding())
    assert (prepared.content, prepared.content_scale) == (expected.content, expected.content_scale)


def exchanged(function, path, data):
    """Call a function while a file has another content; before and after it has its own."""

    def call(*source):
        before = path.read_bytes()
        path.write_bytes(data)
        try:
            return function(*source)
        finally:
            path.write_bytes(before)

    return call


def test_an_image_is_what_its_hash_says_though_the_file_changes_meanwhile(ink, tmp_path, monkeypatch):
    expected = module.open_reference(ink).tobytes()
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    named = resolve_source("ink.png").as_reference()
    swap = exchanged(module.open_reference, ink, (tmp_path / "teal.png").read_bytes())
    monkeypatch.setattr(module, "open_reference", swap)
    assert SourceCache().read_image(named).tobytes() == expected


def test_a_style_that_is_another_only_while_it_is_loaded_is_refused(ink, tmp_path, styled, monkeypatch):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    saved = styled.style(ink).save(tmp_path / "ink.style.safetensors")
    other = styled.style(tmp_path / "teal.png").save(tmp_path / "teal.style.safetensors")
    named = resolve_source(saved).as_reference()
    monkeypatch.setattr(Style, "load", staticmethod(exchanged(Style.load, saved, other.read_bytes())))
    with pytest.raises(JobError, match=r"ink\.style\.safetensors was changed after its recipe was made"):
        SourceCache().read_style(named)
