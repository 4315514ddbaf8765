"""LoRA files, VAE and scheduler of a recipe: on the command line, in batches, and when an image is reproduced."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import instantstyle
from instantstyle import JobError, LoraStyle, ModelError
from instantstyle.batch import BatchRow
from instantstyle.batch.manifest import read_manifest
from instantstyle.generation.load import load_for
from instantstyle.generation.weights import locate_weights, parse_lora, read_weights
from instantstyle.imaging.loading import file_sha256
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.models.vae import replace_vae
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Lora, Reference

from ..cli.conftest import model, run
from ..conftest import base_projection, layer_weights, make_pipe
from ..models.test_lora import save_lora

__all__ = ["model", "run"]

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)


@pytest.fixture
def weights(tmp_path, tokenizer_folder) -> Path:
    """A folder with a LoRA and another VAE for the small random model."""
    folder = tmp_path / "weights"
    folder.mkdir()
    pipe = make_pipe(tokenizer_folder)
    save_lora(folder / "ink.safetensors", pipe.unet)
    tensors = {name: 1.5 * tensor for name, tensor in pipe.vae.state_dict().items()}
    save_file(tensors, folder / "vae.safetensors")
    return folder


@pytest.mark.parametrize(
    ("text", "name", "weight"),
    [
        ("ink.safetensors", "ink.safetensors", 1.0),
        ("ink.safetensors=0.7", "ink.safetensors", 0.7),
        ("ink.safetensors=-1", "ink.safetensors", -1.0),
        ("a=b.safetensors", "a=b.safetensors", 1.0),
        ("a=b.safetensors=.5", "a=b.safetensors", 0.5),
        ("=0.5", "=0.5", 1.0),
        ("a@b.safetensors", "a@b.safetensors", 1.0),
        ("ink.safetensors=x", "ink.safetensors=x", 1.0),
        ("ink.safetensors=1.2.3@style", "ink.safetensors=1.2.3@style", 1.0),
        ("ink.safetensors=.@style", "ink.safetensors=.@style", 1.0),
    ],
)
def test_a_lora_is_a_file_with_or_without_a_weight(text, name, weight):
    assert parse_lora(text) == {"name": name, "weight": weight}


@pytest.mark.parametrize(
    ("text", "weight", "blocks", "positive_only"),
    [
        ("ink.safetensors@style", 1.0, "style", False),
        ("ink.safetensors=-.5@layout+up_blocks.0", -0.5, "layout+up_blocks.0", False),
        ("ink.safetensors=2@style:positive", 2.0, "style", True),
    ],
)
def test_a_lora_may_name_blocks(text, weight, blocks, positive_only):
    named = {"blocks": blocks, "positive_only": positive_only}
    assert parse_lora(text) == {"name": "ink.safetensors", "weight": weight, **named}


@pytest.mark.slow
def test_an_image_with_other_weights_is_reproduced_bit_by_bit(run, model, weights, tmp_path):
    changes = ("--lora", weights / "ink.safetensors=9", "--vae", weights / "vae.safetensors", "--scheduler", "euler")
    pixels = set()
    for name, words in (
        ("plain", ()),
        ("lora", changes[:2]),
        ("vae", changes[2:4]),
        ("euler", changes[4:]),
        ("all", changes),
    ):
        done = run("generate", "a rocket", "--model", model, *SHORT, *words, "-o", f"{name}.png")
        assert done.code == 0, done.err
        pixels.add((tmp_path / f"{name}.png").read_bytes()[-3000:])
    assert len(pixels) == 5
    recipe = read_recipe(tmp_path / "all.png")
    assert (recipe.loras[0].weight, recipe.scheduler) == (9, "euler")
    moved = tmp_path / "moved"
    weights.rename(moved)
    (moved / "ink.safetensors").rename(moved / "renamed.safetensors")
    done = run("reproduce", "all.png", "--references", moved)
    assert (done.code, done.out) == (0, "bit-identical\n"), done.err


@pytest.mark.slow
def test_a_lora_in_blocks_is_a_style_of_its_recipe(run, model, weights, tmp_path):
    path = weights / "ink.safetensors"
    halves = (
        "--lora",
        f"{path}=9@style:positive",
        "--lora",
        f"{path}=3@mid_block.attentions.0+down_blocks.2.attentions.1",
    )
    acting = ("--start", 0.5, "--hold-layout", 0.5)
    images = {}
    for name, words in (("merged", (*halves[:1], f"{path}=9")), ("halves", halves), ("acting", halves + acting)):
        done = run("generate", "a rocket", "--model", model, *SHORT, *words, "-o", f"{name}.png")
        assert done.code == 0, done.err
        images[name] = Image.open(tmp_path / f"{name}.png").tobytes()
    assert len({*images.values()}) == 3
    recipe = read_recipe(tmp_path / "halves.png")
    assert [(lora.weight, lora.positive_only) for lora in recipe.loras] == [(9, True), (3, False)]
    assert "positive only" in run("recipe", "halves.png", "--a1111").out
    # The same by the library, whose own recipe is that of the command.
    styled = load_for(recipe)
    ink = LoraStyle(path, "style", 9, positive_only=True)
    both = [ink, LoraStyle(ink.file, "mid_block.attentions.0+down_blocks.2.attentions.1", 3)]
    output = styled("a rocket", style=both, seed=7, num_inference_steps=2, height=16, width=16)
    assert output.images[0].tobytes() == images["halves"]
    assert output.recipe().loras == recipe.loras
    own = [ink, LoraStyle(ink.file, "mid_block.attentions.0", 3, start=0.5)]
    other = styled("a rocket", style=own, seed=7, num_inference_steps=2, height=16, width=16)
    with pytest.raises(JobError, match="a LoraStyle with steps, mask or frames of its own"):
        other.recipe()
    weights.rename(tmp_path / "moved")
    for name in ("halves.png", "acting.png"):
        done = run("reproduce", name, "--references", tmp_path / "moved")
        assert (done.code, done.out) == (0, "bit-identical\n"), done.err


def test_loading_a_model_merges_no_lora_with_blocks(model, weights):
    with pytest.raises(ModelError, match=r"has blocks, and loading a model merges whole files; .*LoraStyle"):
        instantstyle.load(model, loras=[Lora(name=str(weights / "ink.safetensors"), blocks="style")])


def test_a_plan_lists_the_loras_of_blocks(run, model, weights):
    path = weights / "ink.safetensors"
    done = run("generate", "a", "--model", model, "--lora", f"{path}@style", "--plan")
    assert done.code == 0
    assert f"{path}: blocks style\n" in done.out
    assert f"lora: {path} (" in done.out
    assert "\nblocks: none\n" in done.out


def test_a_merged_lora_has_no_half():
    with pytest.raises(JobError, match="give blocks with positive_only"):
        Lora(name="ink.safetensors", positive_only=True)


def test_rows_with_one_lora_in_other_blocks_share_a_model():
    loras = [Lora(name="a.safetensors", blocks=blocks) for blocks in ("style", "layout", None)]
    rows = [BatchRow(Recipe(prompt="a", seed=1, loras=(lora,))) for lora in loras]
    assert rows[0].model_key == rows[1].model_key != rows[2].model_key
    assert len({row.settings_key for row in rows}) == 3


def test_files_that_changed_are_named_before_the_model_is_loaded(run, model, weights, tmp_path):
    done = run("generate", "a", "--model", model, *SHORT, "--lora", weights / "ink.safetensors", "-o", "a.png")
    assert done.code == 0
    tensors = load_file(weights / "ink.safetensors")
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, weights / "ink.safetensors")
    done = run("reproduce", "a.png")
    assert done.code == 2
    assert "ink.safetensors is another file than the image was generated with" in done.err
    (weights / "ink.safetensors").unlink()
    assert "ink.safetensors (sha256" in run("reproduce", "a.png").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lora", "nothing.safetensors"), "There is no LoRA file 'nothing.safetensors'"),
        (("--lora", "weights/ink.safetensors=11"), "weight is 11"),
        (("--lora", "weights/ink.safetensors@stlye"), "stlye"),
        (("--lora", "weights/ink.safetensors", "--start", ".5"), "start can only act on the style of a reference"),
        (("--vae", "nothing.safetensors"), "There is no VAE 'nothing.safetensors'"),
        (("--scheduler", "eulr"), "Did you mean euler?"),
    ],
)
def test_a_mistake_ends_in_one_line(run, model, weights, words, message):
    done = run("generate", "a", "--model", model, *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def test_rows_of_a_batch_name_weights_relative_to_the_manifest(weights):
    rows = [
        {"prompt": "a", "loras": ["ink.safetensors=0.5"], "vae": "vae.safetensors", "scheduler": "euler"},
        {"prompt": "a", "loras": [{"name": "ink.safetensors", "weight": 0.5}], "vae": {"name": "vae.safetensors"}},
    ]
    path = weights / "jobs.jsonl"
    path.write_text("\n".join(json.dumps({**row, "seed": 1}) for row in rows))
    first, second = (row.recipe for row in read_manifest(path))
    assert first.loras == second.loras
    assert Path(first.loras[0].name).parent == weights
    assert (first.loras[0].weight, first.vae) == (0.5, second.vae)
    assert (first.scheduler, second.scheduler) == ("euler", None)


def test_rows_with_missing_weights_are_refused_together(weights):
    path = weights / "jobs.jsonl"
    path.write_text('{"prompt": "a", "loras": "no.safetensors", "vae": "none.safetensors"}')
    with pytest.raises(JobError, match=r"There is no LoRA file .* There is no VAE"):
        read_manifest(path)


def test_an_image_answers_the_row_that_left_its_scheduler_open():
    row = BatchRow(Recipe(prompt="a", seed=1))
    made = Recipe(prompt="a", seed=1, scheduler="DDIMScheduler", versions={"torch": "2"})
    assert row.key_of_image(made) == row.key
    chosen = BatchRow(Recipe(prompt="a", seed=1, scheduler="euler"))
    assert chosen.key_of_image(made) != chosen.key == chosen.key_of_image(made.replace(scheduler="euler"))


def test_models_of_rows_differ_by_their_weights_and_not_by_the_scheduler():
    plain, euler = (BatchRow(Recipe(prompt="a", seed=1, scheduler=name)) for name in (None, "euler"))
    changed = [
        Recipe(prompt="a", seed=1, loras=(Lora(name="a.safetensors"),)),
        Recipe(prompt="a", seed=1, vae=Reference(name="b")),
    ]
    assert plain.model_key == euler.model_key
    assert len({plain.model_key, *(BatchRow(each).model_key for each in changed)}) == 3


def test_a_folder_of_a_vae_is_known_by_its_settings_and_found_under_another_name(tmp_path, tokenizer_folder):
    vae = make_pipe(tokenizer_folder).vae
    folder = tmp_path / "elsewhere" / "renamed"
    vae.save_pretrained(folder)
    entry = read_weights("vae", str(folder)).model_copy(update={"name": "gone/vae"})
    found = {str(place): locate_weights("vae", entry, [place]) for place in (folder, folder.parent)}
    assert found == {str(folder): str(folder), str(folder.parent): str(folder)}
    # The weights alone would be used with other settings.
    (tmp_path / "bare").mkdir()
    shutil.copy(folder / "diffusion_pytorch_model.safetensors", tmp_path / "bare" / "vae.safetensors")
    with pytest.raises(JobError, match="was not found"):
        locate_weights("vae", entry, [tmp_path / "bare"])
    vae.register_to_config(scaling_factor=0.5)
    vae.save_config(folder)
    with pytest.raises(JobError, match="was not found"):
        locate_weights("vae", entry, [folder])
    with pytest.raises(ModelError, match=r"config\.json is another file than the image was generated with"):
        replace_vae(make_pipe(tokenizer_folder), entry.model_copy(update={"name": str(folder)}))


@pytest.fixture
def adapter(layers, tmp_path) -> Path:
    """An adapter for the small random model, in a file of its own."""
    state = {f"ip_adapter.{name}": -tensor.flip(0) for name, tensor in layer_weights(layers).items()}
    state |= {f"image_proj.{name}": tensor for name, tensor in base_projection().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_an_adapter_is_recorded_by_its_hash_and_found_by_it(run, model, adapter, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    words = ["--model", model, "--style", "ink.png", "--adapter", adapter, *SHORT]
    assert run("generate", "a", *words, "-o", "mine.png").code == 0
    entry = Reference(name=str(adapter), sha256=file_sha256(adapter))
    assert read_recipe(tmp_path / "mine.png").adapter == entry
    styled = instantstyle.load(model, adapter=adapter)
    output = styled("a", style="ink.png", seed=7, num_inference_steps=2, height=16, width=16)
    assert output.recipe().adapter == entry
    assert output.images[0].tobytes() == Image.open("mine.png").convert("RGB").tobytes()
    moved = tmp_path / "moved" / "other name.safetensors"
    moved.parent.mkdir()
    moved.write_bytes(adapter.read_bytes())
    assert run("reproduce", "mine.png").code == 0
    adapter.write_bytes(adapter.read_bytes() + b" ")
    assert "mine.safetensors is another file than the image was" in run("reproduce", "mine.png").err
    assert run("reproduce", "mine.png", "--references", moved.parent).code == 0
    with pytest.raises(ModelError, match="another file than the image was generated with"):
        load_for(read_recipe(tmp_path / "mine.png"), device="cpu")
    styled = instantstyle.load(model)
    assert styled("a", style="ink.png", seed=7, num_inference_steps=2, height=16, width=16).recipe().adapter is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "The name of the adapter is empty"),
        (".", r"\. is a folder; name the file"),
        ("minii", "Did you mean mini"),
    ],
)
def test_a_name_that_is_no_adapter_is_refused_with_what_to_give(name, message):
    with pytest.raises(ModelError, match=message):
        read_weights("adapter", name)


def test_rows_of_a_batch_count_again_with_another_adapter_of_the_same_name(model, adapter, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    row = {"prompt": "a", "seed": 1, "model": str(model), "references": "ink.png", "adapter": "mine.safetensors"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    [before] = read_manifest(tmp_path / "rows.jsonl", {})
    save_file({name: 2 * tensor for name, tensor in load_file(adapter).items()}, adapter)
    [after] = read_manifest(tmp_path / "rows.jsonl", {})
    assert before.recipe.adapter
    assert after.recipe.adapter
    assert before.recipe.adapter.name == after.recipe.adapter.name == str(adapter)
    assert before.key != after.key


def test_the_adapter_of_early_recipes_is_a_name():
    assert Recipe.model_validate({"prompt": "a", "seed": 1, "adapter": "a.bin"}).adapter == Reference(name="a.bin")
