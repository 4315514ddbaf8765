"""The command with FLUX.1 and references by Redux."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from safetensors.torch import save_file

from instantstyle import ReduxStyle, load
from instantstyle.batch.backends.ray_worker import EncodedRecipe, PackedRecipe
from instantstyle.errors import JobError
from instantstyle.generation.sweep import Grid
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.models.redux_files import REDUX_PARTS, find_redux_conflict, list_redux_files, takes_redux
from instantstyle.models.registry import CARDS, REDUX
from instantstyle.recipe import REDUX_FIELDS, Recipe
from instantstyle.recipe_types import Reference

from ..parity.flux import WIDTH

SMALL = ("--width", 64, "--height", 48, "--steps", 2, "--seed", 1)

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture
def ink(tmp_path, reference) -> Path:
    reference.save(tmp_path / "ink.png")
    return tmp_path / "ink.png"


@pytest.fixture
def words(flux, redux, ink) -> tuple[Any, ...]:
    parts = ("--redux-model", redux, "--redux-image-encoder", redux / "image_encoder")
    return ("generate", "a", "--model", flux, "--redux", ink, *parts, *SMALL)


def pixels(name: str) -> bytes:
    with Image.open(name) as image:
        return image.tobytes()


def test_an_image_is_generated_recorded_and_reproduced(run, words, redux, ink, reference, tmp_path):
    settings = ("--redux-scale", 0.5, "--redux-blocks", "single_transformer_blocks.*", "--redux-curve", "1:0.5")
    mask = Image.new("L", (24, 16))
    mask.paste(255, (0, 0, 12, 16))
    mask.save("mask.png")
    done = run(*words, *settings, "--mask", "mask.png", "--crop", "squash", "--verbose", "-o", "out.png")
    assert done.code == 0, done.err
    assert f"Redux {ink}: " in done.err
    assert "tokens by FLUX.1 Redux: weight 0.5, blocks single_transformer_blocks.*" in done.err
    recipe = read_recipe("out.png")
    assert [file.name for file in recipe.redux_references] == [str(ink)]
    assert recipe.redux_model is not None
    assert (recipe.redux_model.name, len(str(recipe.redux_model.sha256))) == (str(redux), 64)
    assert (recipe.redux_scale, recipe.redux_curve) == (0.5, (1, 0.5))
    assert recipe.redux_blocks == "single_transformer_blocks.*"
    assert "bit-identical" in run("reproduce", "out.png").out
    with Image.open("out.png") as image:
        text = image.info["parameters"]
    assert "Redux blocks: single_transformer_blocks.*, Redux scale: 0.5, Redux curve: 1 0.5" in text
    # The files are found by their hashes, in other folders and under other names.
    moved = tmp_path / "moved"
    moved.mkdir()
    ink.rename(moved / "other.png")
    assert "was not found" in run("reproduce", "out.png").err
    assert "bit-identical" in run("reproduce", "out.png", "--references", moved).out


def test_each_setting_has_an_effect(run, words, ink):
    settings: dict[str, tuple[Any, ...]] = {
        "whole": (),
        "scale": ("--redux-scale", 0.3),
        "blocks": ("--redux-blocks", "transformer_blocks.1"),
        "curve": ("--redux-curve", "1:0"),
        "steps": ("--start", 0.5),
        "crop": ("--crop", "squash"),
        "twice": ("--redux", ink),
    }
    for name, added in settings.items():
        done = run(*words, *added, "-o", f"{name}.png")
        assert done.code == 0, done.err
    assert run(*words, "--redux-scale", 0, "-o", "none.png").code == 0
    found = {name: pixels(f"{name}.png") for name in (*settings, "none")}
    assert len({*found.values()}) == len(found)


def test_a_recipe_of_python_is_that_of_the_command(run, words, flux, redux, ink):
    styled = load(flux, device="cpu", plain=True)
    parts: dict[str, Any] = {"redux": redux, "image_encoder": redux / "image_encoder"}
    small: dict[str, Any] = {"width": 64, "height": 48, "num_inference_steps": 2, "seed": 1}
    look = ReduxStyle.encode(ink, **parts, scale=0.5, blocks=["transformer_blocks.1"], curve=[1, 0.5], start=0.1)
    styled("a", style=look, **small).save("python.png")
    done = run(
        *(*words, "--redux-scale", 0.5, "--redux-blocks", "transformer_blocks.1", "--redux-curve", "1:0.5"),
        *("--start", 0.1, "-o", "command.png"),
    )
    assert done.code == 0, done.err
    assert pixels("python.png") == pixels("command.png")
    names = ("redux_references", "redux_model", "redux_image_encoder", "redux_scale", "redux_curve", "start", "crop")
    ours, theirs = (read_recipe(name) for name in ("python.png", "command.png"))
    assert {name: getattr(ours, name) for name in names} == {name: getattr(theirs, name) for name in names}
    assert "bit-identical" in run("reproduce", "python.png").out
    # Several references have weights of their own.
    other = ReduxStyle.encode(ink, **parts, scale=0.2)
    styled("a", style=[ReduxStyle.encode(ink, **parts, scale=0.3), other], **small).save("two.png")
    recipe = read_recipe("two.png")
    assert ([file.weight for file in recipe.redux_references], recipe.redux_scale) == ([0.3, 0.2], 1)
    assert "bit-identical" in run("reproduce", "two.png").out
    for styles, message in (
        ([ReduxStyle(look.tokens)], "a ReduxStyle whose reference, weights or image encoder is no file"),
        ([look, other], "ReduxStyles with other weights, encoders, crops, blocks or curves"),
        ([ReduxStyle.encode(ink, **parts, mask=Image.new("L", (8, 8), 9))], "a mask without a file"),
        ([other, ReduxStyle.encode(ink, **parts, start=0.2)], "a ReduxStyle with steps, mask or crop of its own"),
    ):
        with pytest.raises(JobError, match=message):
            styled("a", style=styles, **small).recipe()


def test_a_plan_names_the_files_and_doctor_tells_of_them(run, words, redux, ink):
    out = run(*words, "--redux-scale", 0.5, "--device", "cpu", "--plan").out
    assert f"redux: {redux / 'image_embedder' / 'diffusion_pytorch_model.safetensors'}" in out
    assert "redux image encoder: " in out
    assert "redux: 1 reference, weight 0.5 in blocks all" in out
    assert "missing" not in out
    published = run("generate", "a", "--model", "flux-dev", "--redux", ink, "--device", "cpu", "--plan")
    assert f"redux: MISSING, {REDUX.repo}/{REDUX.file} (129 MB on disk, 258 MB in memory)" in published.out
    assert f"hf download {REDUX.repo} {REDUX.file}" in published.out
    assert f"only for --redux: {REDUX.file} of {REDUX.repo}, fetched when it is first needed" in (
        run("doctor", "flux-dev").out
    )
    assert "--redux" not in run("doctor", "chroma").out + run("doctor", "sdxl").out
    found = json.loads(run("doctor", "flux-dev", "--json").out)["only_for_redux"]
    assert {file["part"] for file in found} == {*REDUX_PARTS}
    looked = run("doctor", "--look", redux).out
    assert "FLUX.1 Redux, tokens of width 32; needs an image encoder of width 24 → --redux-model " in looked


def test_rows_and_sweeps_have_it(run, words, flux, redux, ink):
    row = {
        "prompt": "a",
        "seed": 1,
        "redux_references": [ink.name],
        "redux_model": str(redux),
        "redux_image_encoder": str(redux / "image_encoder"),
    }
    rows = [{**row, "redux_scale": scale} for scale in (0.5, 1)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small = ("--width", 64, "--height", 48, "--steps", 2)
    done = run("batch", "rows.jsonl", "--model", flux, *small, "-o", "images")
    assert done.code == 0, done.err + done.out
    assert run(*words, "--redux-scale", 0.5, "-o", "alone.png").code == 0
    drawn = {path.name: pixels(str(path)) for path in Path("images").glob("*.png")}
    assert len({*drawn.values()}) == 2
    assert pixels("alone.png") in drawn.values()
    swept = run("sweep", *words[1:-2], "--x", "redux-scale=0.5,1", "--seed", 1, "-o", "sheet.png")
    assert swept.code == 0, swept.err
    axes = SweepAxis.parse(f"redux={ink},"), SweepAxis.parse("redux_curve=1:0.5,")
    grid = Grid(Recipe(prompt="a", seed=1), *axes)
    assert [(len(cell.redux_references), cell.redux_curve) for cell in grid.cells] == [
        *((1, (1, 0.5)), (0, (1, 0.5))),
        *((1, ()), (0, ())),
    ]
    bad = run("sweep", *words[1:-2], "--x", f"redux-model={redux}", "-o", "other.png")
    assert "one model generates the whole grid" in bad.err


def test_a_worker_of_a_cluster_generates_what_another_has_encoded(run, words, flux):
    assert run(*words, "--redux-scale", 0.5, "-o", "own.png").code == 0
    recipe = read_recipe("own.png")
    assert recipe.redux_model is not None
    unnamed = recipe.replace(redux_model=Reference(name=recipe.redux_model.name))
    styled = load(flux, device="cpu", plain=True)
    encoded = EncodedRecipe.encode(styled, PackedRecipe.from_recipe(unnamed))
    [(image, complete)] = encoded.with_model(styled).generate([recipe])
    assert image.tobytes() == pixels("own.png")
    assert complete.redux_model == recipe.redux_model


def test_what_does_not_fit_is_refused_in_one_line(run, words, flux, redux, ink, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"redux_up.weight": torch.zeros(1)}, other)
    wide = tmp_path / "wide.safetensors"
    save_file(ReduxImageEncoder(redux_dim=7, txt_in_features=WIDTH).state_dict(), wide)
    start = ("generate", "a", "-o", "out.png", "--seed", 1)
    for model in ("mini", "sdxl", "chroma", "sd35-large"):
        done = run(*start, "--model", model, "--redux", ink)
        assert f"acts in FLUX.1, and {model} is another model" in done.err, done.err
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert not takes_redux(model)
    for added, message in (
        (("--redux-scale", 11), "redux_scale is 11"),
        (("--redux-blocks", "transformer_blocks.9"), "no block transformer_blocks.9"),
        (("--redux-model", other), "is not FLUX.1 Redux"),
        (("--redux-model", wide), "reads patch features of width 7"),
        (("--redux-model", "none.safetensors"), "There are no weights of FLUX.1 Redux in 'none.safetensors'"),
        (("--redux-image-encoder", tmp_path / "none"), "name others as redux_image_encoder"),
        (("--redux-curve", "1:x"), "redux_curve"),
        (("--scale", 2), "scale can only act on the style of a reference"),
    ):
        done = run(*words, "-o", "out.png", *added)
        assert done.code == 2, added
        assert message in done.err, (added, done.err)
        assert len([line for line in done.err.splitlines() if "warning: " not in line]) == 1, done.err
    for name, value in {"scale": 0.5, "blocks": "style", "curve": "0:1", "model": redux}.items():
        done = run(*start, "--model", flux, f"--redux-{name}", value)
        message = f"redux_{name} can only act on a reference of FLUX.1 Redux, and there is none; add --redux."
        assert message in done.err, done.err
    done = run(*start, "--model", "flux-dev", "--redux", ink, "--redux-blocks", "transformer_blocks.19")
    assert "no block transformer_blocks.19" in done.err, done.err
    done = run("animate", "a", "--motion-adapter", "a/b", "--redux", ink)
    assert "No such option" in done.err


@pytest.mark.slow
def test_a_photo_is_restyled_by_it_alone(run, words, ink):
    named = [words[place] for place in range(2, 10)]
    done = run("restyle", ink, *named, "--prompt", "a", "--steps", 4, "--strength", 0.5, "-o", "restyled.png")
    assert done.code == 0, done.err
    recipe = read_recipe("restyled.png")
    assert (len(recipe.redux_references), recipe.references, recipe.strength) == (1, (), 0.5)
    assert "bit-identical" in run("reproduce", "restyled.png").out
    explained = run("explain", "restyled.png")
    assert "without a style beside references of FLUX.1 Redux, whose attention is not recorded" in explained.err
    done = run("restyle", ink, "--model", "mini")
    assert "There is no reference to restyle by; add --style IMAGE, or with FLUX.1 --redux IMAGE." in done.err


def test_models_are_known_by_the_classes_of_their_pipelines(tmp_path, monkeypatch):
    kinds = {"FluxPipeline": True, "FluxKontextPipeline": True, "Flux2Pipeline": False, "ChromaPipeline": False}
    for kind, fits in kinds.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        assert takes_redux(str(folder)) == fits
        assert (find_redux_conflict(str(folder)) is None) == fits
        # A model of the hub is known once it is in the cache.
        find = "instantstyle.models.redux_files.find_cached_file"
        monkeypatch.setattr(find, lambda *_, folder=folder: folder / "model_index.json")
        assert takes_redux("owner/name") == fits
    monkeypatch.setattr(find, lambda *_: None)
    assert (takes_redux("owner/name"), find_redux_conflict("owner/name")) == (False, None)


def test_old_recipes_stay_readable():
    recipe = json.loads(Recipe(prompt="a", seed=0).to_json())
    for name in ("redux_references", *REDUX_FIELDS):
        del recipe[name]
    assert Recipe.from_json(json.dumps(recipe)) == Recipe(prompt="a", seed=0)


def test_the_published_files_are_those_of_the_registry():
    weights, *encoder = list_redux_files()
    assert (weights.location, weights.num_bytes) == (REDUX.repo, 129_000_000)
    assert {file.location for file in encoder} == {"google/siglip-so400m-patch14-384"}
    assert [name for name, card in CARDS.items() if card.redux] == ["flux-dev", "flux-instantx", "flux-schnell"]
    assert all(map(takes_redux, ("flux-dev", "flux-instantx", "flux-schnell")))
