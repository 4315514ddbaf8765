"""The command with a folder of FLUX.1."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from instantstyle import load
from instantstyle.batch import ManifestError, read_manifest
from instantstyle.errors import RequestWarning
from instantstyle.imaging.png_metadata import read_recipe

from ..parity.flux import make_flux, make_instantx_adapter, make_siglip, save_flux

SMALL = ("--width", 64, "--height", 48, "--steps", 2, "--seed", 1)

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture(scope="module")
def flux(tmp_path_factory, tokenizer_folder, image_encoder) -> Path:
    """A folder with a small pipeline, an adapter of XLabs' kind and its image encoder."""
    folder = tmp_path_factory.mktemp("flux")
    save_flux(folder, tokenizer_folder, image_encoder)
    return folder


@pytest.fixture(scope="module")
def instantx(tmp_path_factory, tokenizer_folder) -> Path:
    """The same with an adapter of InstantX's kind, in its own format, and a SigLIP."""
    folder = tmp_path_factory.mktemp("instantx")
    pipe = make_flux(tokenizer_folder)
    pipe.save_pretrained(folder)
    make_siglip().save_pretrained(folder / "image_encoder")
    torch.save(make_instantx_adapter(pipe.transformer), folder / "ip-adapter.bin")
    return folder


@pytest.fixture
def ink(tmp_path, reference) -> Path:
    reference.save(tmp_path / "ink.png")
    return tmp_path / "ink.png"


def test_an_image_is_generated_and_reproduced(run, flux, ink):
    done = run("generate", "a", "--style", ink, "--blocks", "all", "--model", flux, *SMALL, "-o", "out.png")
    assert done.code == 0, done.err
    with Image.open("out.png") as image:
        assert image.size == (64, 48)
    recipe = read_recipe("out.png")
    assert (recipe.blocks, recipe.scheduler) == ("all", "FlowMatchEulerDiscreteScheduler")
    assert "bit-identical" in run("reproduce", "out.png").out
    plain = run("generate", "a", "--model", flux, *SMALL, "-o", "plain.png")
    assert plain.code == 0, plain.err
    assert Path("plain.png").read_bytes() != Path("out.png").read_bytes()


def test_words_without_a_text_encoder_are_refused_with_what_a_command_can_do(run, flux, ink):
    """The width of the small encoder is that of no known one; a service loads its model in the same way."""
    words = ("generate", "a", "--style", ink, "--blocks", "all", "--model", flux, *SMALL, "-o", "out.png")
    refused = run(*words, "--content", "a cat")
    assert refused.code == 2
    assert "Give a picture of the content instead: content_image (--content-image), in Python" in refused.err
    assert "text_encoder=" not in refused.err
    done = run(*words, "--content-image", ink)
    assert done.code == 0, done.err


def test_a_batch_row_without_blocks_is_refused_where_no_block_has_a_role(flux, instantx, ink, tmp_path):
    """FLUX.1 has no published roles, and the small transformer is of no known family."""
    fields = {"prompt": "a", "seed": 1, "style": str(ink), "num_inference_steps": 1}
    path = tmp_path / "jobs.jsonl"
    for model in (flux, instantx):
        for row in ({}, {"blocks": "transformer_blocks.9"}, {"blocks": "all", "layout_references": [str(ink)]}):
            path.write_text(json.dumps({**fields, "model": str(model), **row}))
            with pytest.raises(ManifestError, match="1 of 1 rows are invalid; no image was generated"):
                read_manifest(path)
        path.write_text(json.dumps({**fields, "model": str(model), "blocks": "all"}))
        assert len(read_manifest(path)) == 1
    only = {**fields, "blocks": "single_transformer_blocks.1"}
    path.write_text(json.dumps({**only, "model": str(instantx)}))
    assert len(read_manifest(path)) == 1
    path.write_text(json.dumps({**only, "model": str(flux)}))
    with pytest.raises(ManifestError, match=r"single_transformer_blocks\.1"):
        read_manifest(path)


def test_a_folder_with_instantx_adapter_works_alike(run, instantx, flux, ink):
    words = ("generate", "a", "--blocks", "single_transformer_blocks.*", *SMALL)
    done = run(*words, "--style", ink, "--model", instantx, "-o", "out.png")
    assert done.code == 0, done.err
    assert "bit-identical" in run("reproduce", "out.png").out
    assert run("doctor", instantx).code == 0
    planned = run(*words, "--style", ink, "--model", instantx, "-o", "out.png", "--plan")
    assert "single_transformer_blocks.0–1" in planned.out, planned.err
    name = "ink.style.safetensors"
    bound = run(
        "style", ink, "--model", instantx, "--bind", instantx, "--blocks", "single_transformer_blocks.*", "-o", name
    )
    assert bound.code == 0, bound.err
    for model, out in ((instantx, "b.png"), (flux, "c.png")):
        done = run(*words, "--style", name, "--model", model, "-o", out)
        assert done.code == 0, done.err
        with Image.open("out.png") as one, Image.open(out) as other:
            assert max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)) <= 4
    assert "bit-identical" in run("reproduce", "c.png").out


def test_rows_whose_bound_style_lacks_their_blocks_are_refused(run, instantx, flux, ink, tmp_path):
    """A style acts in the blocks of the kind of adapter that it was bound with, whichever the model has."""
    for model, blocks in ((flux, "transformer_blocks.0-1"), (instantx, "single_transformer_blocks.1")):
        bound = run("style", ink, "--bind", model, "--blocks", blocks, "-o", f"{model.name}.style.safetensors")
        assert bound.code == 0, bound.err
    path = tmp_path / "jobs.jsonl"
    refused = r"bound for transformer_blocks\.0–1 of unknown, not for transformer_blocks\.2"
    other = r"bound for single_transformer_blocks\.1 of unknown-instantx, not for single_transformer_blocks\.0"
    for style, blocks, message in (
        (flux, "transformer_blocks.0-1", None),
        (flux, ["transformer_blocks.1"], None),
        (flux, "transformer_blocks.1-2", refused),
        (flux, "all", refused),
        (flux, "style", "has no role 'style'"),
        (instantx, "single_transformer_blocks.1", None),
        (instantx, "single_transformer_blocks.0-1", other),
        (instantx, "transformer_blocks.0", "not for transformer_blocks"),
    ):
        name = str(tmp_path / f"{style.name}.style.safetensors")
        for model in (flux, instantx):
            fields = {"prompt": "a", "seed": 1, "style": name, "blocks": blocks, "model": str(model)}
            path.write_text(json.dumps({**fields, "num_inference_steps": 2}))
            if message is None:
                assert len(read_manifest(path)) == 1
                continue
            with pytest.raises(ManifestError, match=message):
                read_manifest(path)


def test_a_style_that_is_bound_for_a_unet_alone_is_refused_for_a_transformer(flux, ink, tmp_path):
    styled = load("mini")
    bound = styled.bind(styled.style(ink), "style")
    name = tmp_path / "mini.style.safetensors"
    replace(bound, image_embeds=bound.image_embeds[:0, :0], unconditional=bound.unconditional[:0], weights=()).save(
        name
    )
    fields = {"prompt": "a", "seed": 1, "style": str(name), "blocks": "all", "model": str(flux)}
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(fields))
    with pytest.raises(ManifestError, match=r"is bound only: without embeddings"):
        read_manifest(path)


def test_a_bound_style_generates_the_same(run, flux, ink):
    bound = run("style", ink, "--model", flux, "--bind", flux, "--blocks", "all", "-o", "ink.style.safetensors")
    assert bound.code == 0, bound.err
    for style, out in ((ink, "a.png"), ("ink.style.safetensors", "b.png")):
        done = run("generate", "a", "--style", style, "--blocks", "all", "--model", flux, *SMALL, "-o", out)
        assert done.code == 0, done.err
    with Image.open("a.png") as one, Image.open("b.png") as other:
        # The file holds half precision.
        assert max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)) <= 4


def test_steps_of_a_binding_without_effect_are_refused(run, flux, ink):
    words = ("style", ink, "--steps", 2, "-o", "ink.style.safetensors")
    for added, message in (
        (("--bind", flux, "--blocks", "all"), "num_inference_steps (--steps) is 2, and keys and values of this"),
        (("--model", flux), "--steps is the number of steps for which a style is bound; add --bind MODEL"),
    ):
        done = run(*words, *added)
        assert done.code == 2, added
        assert message in done.err, (added, done.err)
        assert len(done.err.splitlines()) == 1, done.err


@pytest.mark.slow
def test_true_guidance_gives_negatives_an_effect_and_is_reproduced(run, flux, ink):
    words = ("generate", "a", "--style", ink, "--blocks", "all", "--model", flux, *SMALL)
    pixels: dict[str, bytes] = {}
    for name, added in {
        "plain": (),
        "empty": ("--true-guidance", 3),
        "prompt": ("--true-guidance", 3, "--negative", "b"),
        "style": ("--true-guidance", 3, "--negative-style", ink),
    }.items():
        done = run(*words, *added, "-o", f"{name}.png")
        assert done.code == 0, done.err
        assert "no effect" not in done.err
        assert "bit-identical" in run("reproduce", f"{name}.png").out
        with Image.open(f"{name}.png") as image:
            pixels[name] = image.tobytes()
    assert len({*pixels.values()}) == len(pixels)
    assert read_recipe("empty.png").true_cfg_scale == 3
    assert "--true-guidance" in run(*words, "--negative", "b", "-o", "idle.png").err


def test_a_recipe_of_python_records_true_guidance(run, flux, ink):
    call = {"style": ink, "blocks": "all", "seed": 1, "width": 64, "height": 48, "num_inference_steps": 2}
    styled = load(flux, device="cpu")
    styled("a", negative_prompt="b", true_cfg_scale=3.0, **call).save("both.png")
    with pytest.warns(RequestWarning, match="without a negative prompt"):
        styled("a", true_cfg_scale=3.0, **call).save("alone.png")
    assert [read_recipe(name).true_cfg_scale for name in ("both.png", "alone.png")] == [3, None]
    for name in ("both.png", "alone.png"):
        assert "bit-identical" in run("reproduce", name).out


def test_a_plan_lists_the_tensors_of_the_blocks_with_their_biases(run, flux, ink):
    words = ("generate", "a", "--style", ink, "--model", flux, "--device", "cpu", "--plan", "--blocks")
    out = run(*words, "transformer_blocks.1").out
    assert "blocks: transformer_blocks.1\n" in out
    assert "adapter tensors: 4 (ip_adapter.1.to_k_ip.weight … ip_adapter.1.to_v_ip.bias)" in out
    assert "blocks: transformer_blocks.0–2\n" in run(*words, "all").out
    assert "all 17 files are here" in run("doctor", flux).out


def test_what_does_not_fit_is_refused_in_one_line(run, flux, ink, tmp_path):
    words = ("generate", "a", "--style", ink, "--model", flux, "-o", "out.png")
    for added, message in (
        ((), "has no role 'style'; no published roles exist for it. Select blocks by name: transformer_blocks.0–2."),
        (("--blocks", "all", "--width", 72, "--height", 50), "height is 50, should be a multiple of 8"),
        (("--blocks", "all", "--hold-layout", 0.4), "hold_layout acts in the layers of a UNet"),
        (("--blocks", "all", "--fuse", "adain"), "has no attention of its own for the text"),
        (("--blocks", "all", "--scheduler", "ddim"), "was trained with flow matching. Leave scheduler out"),
    ):
        done = run(*words, *added)
        assert done.code == 2, added
        assert message in done.err, (added, done.err)
        assert len(done.err.splitlines()) == 1, done.err
    other = tmp_path / "pixart"
    other.mkdir()
    index = {"_class_name": "PixArtSigmaPipeline", "transformer": ["diffusers", "PixArtTransformer2DModel"]}
    (other / "model_index.json").write_text(json.dumps(index))
    assert "PixArtSigmaPipeline without a UNet; only SDXL, Kolors" in run("doctor", other).out


def test_a_folder_is_loaded_in_python(flux, reference):
    styled = load(flux, device="cpu")
    assert styled.architecture.blocks[0].stage == "transformer_blocks"
    assert repr(styled).startswith("InstantStyle(FluxPipeline")
    image = styled("a", style=reference, blocks="all", seed=1, width=64, height=48, num_inference_steps=2).images[0]
    assert isinstance(image, Image.Image)
    assert image.size == (64, 48)
