"""A second adapter in recipes, on the command line, in batches and sweeps, reproduced by its hash."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file

import instantstyle
from instantstyle import StyleConditioning
from instantstyle.batch.manifest import ManifestError, read_manifest
from instantstyle.errors import BlockError, JobError
from instantstyle.generation.explain import explain
from instantstyle.generation.request_checks import check_request
from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.loading import file_sha256
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

from ..conftest import base_projection, layer_weights, plus_projection

SMALL = ["--steps", 1, "--height", 16, "--width", 16, "--seed", 1]
TINY: dict[str, Any] = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def plus(layers, tmp_path_factory) -> Path:
    weights = {f"ip_adapter.{name}": -tensor.flip(0) for name, tensor in layer_weights(layers).items()}
    projection = {f"image_proj.{name}": tensor for name, tensor in plus_projection().items()}
    path = tmp_path_factory.mktemp("adapters") / "plus.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in (weights | projection).items()}, path)
    return path


@pytest.fixture
def image(run, model, plus, reference, tmp_path):
    """An image of the command with two adapters."""
    reference.save(tmp_path / "ink.png")
    words = ["--model", model, "--style", "ink.png", "--second-adapter", plus, "--second-scale", 0.3, *SMALL]
    done = run("generate", "a", *words, "-o", "both.png")
    assert done.code == 0, done.err
    return tmp_path / "both.png"


def test_the_command_generates_with_both_adapters_and_records_the_second_by_hash(image, model, plus, tmp_path):
    recipe = read_recipe(image)
    assert recipe.second_adapter
    assert (recipe.second_adapter.name, recipe.second_adapter.sha256) == (str(plus), file_sha256(plus))
    assert (recipe.second_blocks, recipe.second_scale) == ("all", 0.3)
    assert "Style second adapter" in format_a1111(recipe)
    styled = instantstyle.load(model, adapter=[None, plus])
    first, second = (builder.require_reference_encoder().encoder for builder in styled.builders)
    assert first is second
    ink = tmp_path / "ink.png"
    parts = [StyleConditioning(styled.style(ink)), StyleConditioning(styled.style(ink, adapter="plus"), "all", 0.3)]
    output = styled("a", style=parts, seed=1, **TINY)
    pixels = output.images[0].tobytes()
    assert Image.open(image).convert("RGB").tobytes() == pixels
    alone = styled("a", style=ink, seed=1, **TINY)
    assert alone.images[0].tobytes() != pixels
    assert alone.recipe().second_adapter is None
    recorded = output.recipe()
    assert recorded.second_adapter == recipe.second_adapter
    assert [file.sha256 for file in recorded.second_references] == [file_sha256(ink)]
    assert (recorded.blocks, recorded.second_blocks, recorded.second_scale) == ("style", "all", 0.3)
    output.save(tmp_path / "python.png")
    third = styled.add_adapter(plus, name="third")
    other = styled("a", style=styled.style(ink, adapter=third), seed=1, **TINY)
    with pytest.raises(JobError, match="does not record a style of a third adapter"):
        other.recipe()


def test_both_kinds_of_images_are_reproduced_and_another_file_is_refused(run, image, model, plus, tmp_path):
    styled = instantstyle.load(model, adapter=[None, plus])
    only = styled("a", style=styled.style(tmp_path / "ink.png", adapter="plus"), scale=0.5, seed=1, **TINY)
    only.save(tmp_path / "only.png")
    recorded = read_recipe(tmp_path / "only.png")
    assert (recorded.references, recorded.second_blocks, recorded.second_scale) == ((), "style", 0.5)
    for name in ("both.png", "only.png"):
        done = run("reproduce", name)
        assert done.code == 0, done.err
        assert "bit-identical" in done.out + done.err
    moved = tmp_path / "moved" / "other name.safetensors"
    moved.parent.mkdir()
    moved.write_bytes(plus.read_bytes())
    content = plus.read_bytes()
    try:
        plus.write_bytes(content + b" ")
        assert "another file than the image was generated with" in run("reproduce", "both.png").err
        assert run("reproduce", "both.png", "--references", moved.parent).code == 0
    finally:
        plus.write_bytes(content)


@pytest.mark.slow
def test_a_saved_style_acts_through_both_adapters(run, model, plus, layers, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    state = {f"ip_adapter.{name}": -tensor.flip(0) for name, tensor in layer_weights(layers).items()}
    state |= {f"image_proj.{name}": tensor for name, tensor in base_projection().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, "other.safetensors")
    style, patches = "ink.style.safetensors", "patches.style.safetensors"
    styled = instantstyle.load(model, adapter=[None, plus])
    styled.style("ink.png", content="a cat").save(style)
    styled.style("ink.png", adapter="plus").save(patches)
    words = ["generate", "a", "--model", model, *SMALL, "--style"]
    assert run(*words, style, "--second-adapter", "other.safetensors", "-o", "both.png").code == 0
    assert "bit-identical" in run("reproduce", "both.png").out
    other = instantstyle.load(model, adapter=[None, "other.safetensors"])
    parts = [other.style(style), other.style(style, adapter="other")]
    output = other("a", style=[StyleConditioning(parts[0]), StyleConditioning(parts[1], "all")], seed=1, **TINY)
    assert Image.open("both.png").convert("RGB").tobytes() == output.images[0].tobytes()
    assert [file.name for file in output.recipe().second_references] == [style]
    output.save("python.png")
    assert "bit-identical" in run("reproduce", "python.png").out
    Image.linear_gradient("L").save("mask.png")
    masked = [StyleConditioning(each, "all", mask="mask.png") for each in parts]
    other("a", style=masked, seed=1, **TINY).save("masked.png")
    assert (recorded := read_recipe(tmp_path / "masked.png").mask)
    assert (recorded.name, recorded.sha256) == ("mask.png", file_sha256(Path("mask.png")))
    assert "bit-identical" in run("reproduce", "masked.png").out
    refused = {
        "adapter 'plus', which cannot use it": [style, "--second-adapter", plus],
        "the first adapter, which cannot use it": [patches, "--second-adapter", plus],
    }
    for message, options in refused.items():
        done = run(*words, *options, "-o", "x.png")
        assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert "set second_scale to 0" in run(*words, style, "--second-adapter", plus, "-o", "x.png").err
    for name, options in {"own": ["--second-style", patches], "none": ["--second-scale", 0]}.items():
        done = run(*words, style, "--second-adapter", plus, *options, "-o", f"{name}.png")
        assert done.code == 0, done.err
        assert "bit-identical" in run("reproduce", f"{name}.png").out


def test_a_sweep_a_plan_and_layers_take_the_second_adapter(run, image, model, plus):
    words = ["--model", model, "--style", "ink.png", "--second-adapter", plus, *SMALL]
    layer = "up_blocks.0.attentions.1.transformer_blocks.1"
    done = run("sweep", "a", *words, "--x", "second_scale=0,1", "--y", f"second_blocks=all,{layer}", "-o", "grid.png")
    assert done.code == 0, done.err
    plan = run("generate", "a", *words, "--second-blocks", layer, "--plan").out
    assert re.search(rf"second adapter: {re.escape(str(plus))} \(.* on disk, .* in memory\)", plan)
    assert "second image encoder" not in plan
    assert f"second blocks: {layer}" in plan
    assert "second adapter tensors: 2 " in plan


def test_a_batch_takes_a_second_adapter_by_row_with_its_hash(image, model, plus, tmp_path):
    row = {"prompt": "a", "seed": 1, "model": str(model), "style": "ink.png", "second_adapter": str(plus)}
    for name, changes in {"good": {}, "bad": {"second_adapter": "pluss.safetensors"}}.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**row, **changes}))
    [found] = read_manifest(tmp_path / "good.jsonl")
    assert found.recipe.second_adapter
    assert found.recipe.second_adapter.sha256 == file_sha256(plus)
    with pytest.raises(ManifestError, match="There is no adapter file"):
        read_manifest(tmp_path / "bad.jsonl")
    (tmp_path / "table.csv").write_text(
        f"prompt,seed,model,style,second_adapter,second_blocks,second_scale\na,1,{model},ink.png,{plus},style;layout,0.3\n"
    )
    [cells] = read_manifest(tmp_path / "table.csv")
    assert (cells.recipe.second_blocks, cells.recipe.second_scale) == (("style", "layout"), 0.3)
    assert cells.model_key != read_manifest(tmp_path / "good.jsonl")[0].key


def test_a_batch_refuses_rows_whose_saved_styles_do_not_fit_an_adapter(
    model, plus, reference, tmp_path, layers, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state = {f"ip_adapter.{name}": tensor for name, tensor in layer_weights(layers).items()}
    state |= {f"image_proj.{name}": tensor for name, tensor in base_projection().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, "other.safetensors")
    reference.save("ink.png")
    styled = instantstyle.load(model, adapter=[None, plus])
    base, patches = styled.style("ink.png"), styled.style("ink.png", adapter="plus")
    files = {"base": base, "patches": patches, "bound": styled.bind(base, "style").bound_only()}
    for name, style in files.items():
        style.save(f"{name}.style.safetensors")
    second = {"style": "base", "second_adapter": str(plus)}
    rows: list[tuple[dict[str, Any], str]] = [
        ({"style": "base"}, ""),
        ({"style": "patches"}, "is patch features of width 16; the adapter needs an embedding of width 24"),
        ({"style": "bound"}, ""),
        ({"style": "bound", "blocks": "all"}, r"bound for up_blocks\.0\.attentions\.1 of sdxl, not for"),
        ({"style": "bound", "blocks": "all", "scale": 0}, ""),
        ({"style": "bound", "blocks": "up_blocks.7.attentions.0"}, "no block up_blocks"),
        ({"style": "base", "second_adapter": "other.safetensors"}, ""),
        (second, "which cannot use it: .* or set second_scale to 0"),
        ({**second, "second_scale": 0}, ""),
        ({**second, "second_references": "patches"}, ""),
        ({**second, "second_references": "base"}, "adapter 'plus', which cannot use it"),
        ({**second, "style": "patches"}, "through the first adapter, which cannot use it"),
        ({**second, "second_adapter": "other.safetensors", "second_references": "bound"}, ""),
        ({**second, "second_references": "bound"}, "is bound only"),
    ]
    wrong: dict[str, str] = {}
    for fields, message in rows:
        named = {key: f"{value}.style.safetensors" if value in files else value for key, value in fields.items()}
        text = json.dumps({"prompt": "a", "seed": 1, "model": str(model), **named})
        (tmp_path / "jobs.jsonl").write_text(text)
        try:
            read_manifest(tmp_path / "jobs.jsonl")
            error = ""
        except ManifestError as refused:
            error = refused.errors[0]
        if not (re.search(message, error) if message else not error):
            wrong[text] = error
    assert not wrong


def test_faults_of_a_second_adapter_are_one_line(run, image, model, plus, tmp_path):
    words = ["generate", "a", "--model", model, "--style", "ink.png", *SMALL]
    refused = {
        "second_scale can only act with a second adapter": ["--second-scale", 0.3],
        "There is no adapter file": ["--second-adapter", "pluss.safetensors"],
        "fits that model only": ["--second-adapter", "mini"],
        "does not fit": [
            "--second-adapter",
            plus,
            "--second-image-encoder",
            model / "image_encoder",
            "--model",
            "mini",
        ],
        "no layer up_blocks.0.attentions.1.transformer_blocks.7": [
            *("--second-adapter", plus, "--second-blocks", "up_blocks.0.attentions.1.transformer_blocks.7"),
        ],
    }
    wrong = {}
    for message, options in refused.items():
        done = run(*words, *options, "-o", "x.png")
        if done.code != 2 or message not in done.err or done.err.count("\n") > 1:
            wrong[message] = (done.code, done.err)
    assert not wrong


def test_a_recipe_without_a_second_adapter_keeps_its_key_and_fields_are_idle_alone():
    plain = Recipe(prompt="a", seed=1)
    assert "second" not in json.dumps(plain.model_dump(mode="json", exclude_defaults=True))


def test_service_and_studio_carry_the_second_adapter_and_hide_its_folder(plus):
    from instantstyle.server.openai_format import build_recipe
    from instantstyle.server.schemas import GenerationRequest
    from instantstyle.server.settings import Settings

    adapter = Reference(name=str(plus), sha256=file_sha256(plus))
    settings = Settings(second_adapter=adapter)
    request = GenerationRequest(prompt="a", second_blocks={"ease-in": 0.5}, second_scale=0.3)
    recipe = build_recipe(request, settings, [Reference(name="ink.png")])
    assert (recipe.second_adapter, recipe.second_blocks, recipe.second_scale) == (adapter, {"ease-in": 0.5}, 0.3)
    # The service has it for all requests, and one without a reference has not asked for it.
    plain = build_recipe(GenerationRequest(prompt="a"), settings, [])
    assert plain.second_adapter is None
    check_request(plain)
    assert settings.public_model["second_adapter"] == adapter.model_copy(update={"name": plus.name})
    with pytest.raises(BlockError, match="opens no file"):
        GenerationRequest(prompt="a", second_blocks="found/probe.json")
    layers = "up_blocks.0.attentions.1.transformer_blocks.2-5"
    assert GenerationRequest(prompt="a", blocks=layers).blocks == layers


def test_each_adapter_has_its_map_with_its_numbers_in_the_layers(image, run, model, plus, tmp_path):
    explanation = explain(image)
    (first, own), (second, everywhere) = explanation.styles
    assert (first, second) == ("ink.png", "ink.png by plus")
    assert {*own} < {*everywhere} == {*explanation.maps.layers}
    assert everywhere == {layer: int(layer in own) for layer in everywhere}
    layers = explanation.maps.layers
    assert [len(layers[name].shares) for name in layers] == [1 + (name in own) for name in layers]
    [pattern] = {f"{layer.rpartition('.')[0]}.*" for layer in own}
    assert explanation.maps.share_of(own).equal(explanation.maps.share(pattern))
    assert not explanation.maps.share_of(everywhere).equal(explanation.maps.share(style=0))
    words = ["--model", model, "--second-adapter", plus, "--second-style", "ink.png", *SMALL]
    assert run("generate", "a", *words, "-o", "second.png").code == 0
    [(name, _)] = explain(tmp_path / "second.png").styles
    assert name == "ink.png by plus"
