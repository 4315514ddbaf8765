"""Images of a call are saved with the recipe that reproduces them; what no recipe can record is refused by name."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline
from PIL import Image
from torch.testing import assert_close

import instantstyle
from instantstyle import InstantStyle, JobError, Recipe, Style, StyleConditioning
from instantstyle.core import style as style_module
from instantstyle.core import style_builder
from instantstyle.core.output import StyledOutput
from instantstyle.core.style_source import NO_CONTENT, StyleSource, content_identity
from instantstyle.generation.reproduce import reproduce
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe_types import Reference

from ..unet.test_probe_file import probe_file

DATA = Path(__file__).parent / "data"
"""Files of each format as an earlier version wrote them, and the images that their recipe names."""

LAYER = "up_blocks.0.attentions.1.transformer_blocks.0.attn2"

Generate = Callable[..., StyledOutput]


@pytest.fixture(scope="module")
def mini() -> InstantStyle:
    styled = instantstyle.load("mini", device="cpu")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.fixture
def named(pipe, state, image_encoder) -> InstantStyle:
    """A tiny pipeline with `recipe_fields`, which cannot be loaded by them."""
    fields = {"model": "tiny", "adapter": "tiny-adapter", "image_encoder": None}
    return InstantStyle(pipe, adapter=state, image_encoder=image_encoder, recipe_fields=fields)


@pytest.fixture
def generate(named: InstantStyle, short: dict[str, Any]) -> Generate:
    """Generate PIL images with the tiny pipeline."""

    def call(prompt: str | Sequence[str] | None = "a", **arguments: Any) -> StyledOutput:
        return named(prompt, **{**short, "output_type": "pil", "seed": 7, **arguments})

    return call


@pytest.fixture
def ink(reference: Image.Image, tmp_path: Path) -> Path:
    reference.save(tmp_path / "ink.png")
    return tmp_path / "ink.png"


@pytest.fixture
def teal(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((40, 40)).convert("RGB").save(tmp_path / "teal.png")
    return tmp_path / "teal.png"


@pytest.fixture
def saved(named: InstantStyle, ink: Path, teal: Path, tmp_path: Path) -> list[Path]:
    """Two style files; content is removed from the first."""
    styles = [named.style(ink, content="a cat", content_scale=0.7), named.style(teal)]
    return [style.save(tmp_path / f"{i}.style.safetensors") for i, style in enumerate(styles)]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def as_reference(path: Path, weight: float = 1.0) -> Reference:
    return Reference(name=str(path), sha256=sha256(path), weight=weight)


def test_a_saved_image_carries_its_recipe_and_is_reproduced_bit_by_bit(mini, ink, tmp_path):
    options = {"content": "a cat", "blocks": {"style": 0.5, "layout": 0.25}, "scale": 0.9, "end": 0.8, "crop": "pad"}
    call = {"negative_prompt": "a dog", "num_inference_steps": 2, "guidance_scale": 2.0}
    call["guidance_interval"] = (0.2, 0.8)
    output = mini("a rocket", style=ink, seed=5, **options, **call)
    path = output.save(tmp_path / "rocket.png")
    recipe = read_recipe(path)
    assert recipe == output.recipe()
    assert recipe.references == (as_reference(ink),)
    assert (recipe.content, recipe.content_scale, recipe.removal) == (("a cat",), 0.5, "subtract")
    recorded = {name: getattr(recipe, name) for name in ("blocks", "scale", "start", "end", "crop", *call)}
    assert recorded == {"blocks": options["blocks"], "scale": 0.9, "start": 0, "end": 0.8, "crop": "pad", **call}
    assert (recipe.model, recipe.seed, recipe.dtype) == ("mini", 5, "float32")
    assert (recipe.width, recipe.height) == output.images[0].size
    assert recipe.scheduler == type(mini.pipe.scheduler).__name__
    assert recipe.versions["torch"] == torch.__version__
    image, _, comparison = reproduce(path, device="cpu")
    assert comparison.identical
    assert np.array_equal(np.asarray(image), np.asarray(output.images[0]))


@pytest.mark.slow
def test_every_kind_of_source_is_reproduced_bit_by_bit(mini, ink, teal, tmp_path):
    files = [
        mini.style(ink, content="a cat").save(tmp_path / "ink.style.safetensors"),
        mini.style(teal).save(tmp_path / "teal.style.safetensors"),
    ]
    mask = tmp_path / "mask.png"
    Image.linear_gradient("L").save(mask)
    arguments = {
        "no style": {},
        "two references": {"style": mini.style([ink, teal], weights=[3, 1], combine="average")},
        "tokens side by side": {"style": mini.style([ink, teal], combine="concat")},
        "another removal": {"style": mini.style(ink, content=["a cat", "a mat"], removal="project")},
        "cleaned": {"style": ink, "removal": "clean"},
        "a style file": {"style": files[0]},
        "a style file with another scale": {"style": Style.load(files[0]).with_removal(0.2)},
        "a mix": {"style": Style.mix({files[0]: 0.7, files[1]: 0.3})},
        "a mask and a negative style": {"style": ink, "mask": mask, "negative_style": teal, "guidance_scale": 2.0},
        "a mode": {"style": ink, "blocks": "precise-style", "guidance_scale": 2.0},
    }
    differing = []
    for name, given in arguments.items():
        path = mini("a rocket", seed=3, num_inference_steps=2, **given).save(tmp_path / f"{name}.png")
        _, _, comparison = reproduce(path, device="cpu")
        if not comparison.identical:
            differing.append(f"{name}: {comparison}")
    assert not differing


def test_every_image_of_a_batch_has_its_own_seed_prompt_and_style(generate, named, ink, teal):
    output = generate(
        ["a", "b"],
        style=[named.style(ink), named.style(teal)],
        negative_prompt=["c", "d"],
        num_images_per_prompt=2,
    )
    recipes = [output.recipe(i) for i in range(4)]
    assert [(each.prompt, each.negative_prompt, each.seed) for each in recipes] == [
        ("a", "c", 7),
        ("a", "c", 8),
        ("b", "d", 9),
        ("b", "d", 10),
    ]
    assert [each.references[0].name for each in recipes] == [str(path) for path in (ink, ink, teal, teal)]


def test_a_new_random_seed_is_recorded(generate):
    output = generate(seed=None)
    again = generate(seed=output.recipe().seed)
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(output.images[0]))


def test_the_recipe_names_the_model_that_loads_the_pipeline(generate):
    recipe = generate().recipe()
    assert (recipe.model, recipe.adapter, recipe.image_encoder) == ("tiny", Reference(name="tiny-adapter"), None)
    assert recipe.references == ()


@pytest.mark.usefixtures("own_pipe")
def test_the_recipe_holds_what_the_pipeline_was_at_the_time_of_the_call(generate, named):
    output = generate(guidance_scale=3.0)
    named.pipe.scheduler = EulerDiscreteScheduler.from_config(named.pipe.scheduler.config)
    generate(guidance_scale=9.0)
    recipe = output.recipe()
    assert (recipe.scheduler, recipe.guidance_scale) == ("DDIMScheduler", 3.0)


def test_callbacks_do_not_prevent_a_recipe(generate):
    output = generate(callback_on_step_end=lambda pipe, step, timestep, tensors: {})
    assert output.recipe().seed == 7


def test_weights_and_combination_of_references_are_recorded(generate, named, ink, teal):
    average = generate(style=named.style([ink, teal], weights=[3, 1], crop="squash")).recipe()
    assert average.references == (as_reference(ink, 3.0), as_reference(teal, 1.0))
    assert (average.combine, average.crop) == ("average", "squash")
    assert generate(style=named.style([ink, teal], combine="concat")).recipe().combine == "concat"


@pytest.mark.parametrize(
    ("blocks", "recorded"),
    [
        ("style", "style"),
        ("style+layout", "style+layout"),
        (["style", "layout"], ("style", "layout")),
        ({"style": 0.5}, {"style": 0.5}),
    ],
)
def test_blocks_are_recorded_as_they_were_passed(generate, ink, blocks, recorded):
    assert generate(style=ink, blocks=blocks).recipe().blocks == recorded


def test_block_objects_are_recorded_by_name(generate, named, ink):
    block = named.architecture.blocks[0]
    assert generate(style=ink, blocks=block).recipe().blocks == str(block)
    assert generate(style=ink, blocks=[block]).recipe().blocks == (str(block),)


def test_a_mask_and_a_negative_style_are_recorded_with_their_hashes(generate, ink, teal):
    recipe = generate(style=ink, mask=teal, negative_style=teal).recipe()
    assert recipe.mask == as_reference(teal)
    assert recipe.negative_references == (as_reference(teal),)


def test_a_mask_and_a_negative_style_are_recorded_as_they_acted_though_their_files_change_later(generate, ink, teal):
    expected = as_reference(teal)
    output = generate(style=ink, mask=teal, negative_style=teal)
    Image.new("RGB", (8, 8), "red").save(teal)
    recipe = output.recipe()
    assert (recipe.mask, recipe.negative_references) == (expected, (expected,))
    teal.unlink()
    assert output.recipe() == recipe


def exchange_after(function: Callable[..., Any], path: Path) -> Callable[..., Any]:
    """Give a file another content as soon as a function has read it."""

    def call(*source: Any) -> Any:
        result = function(*source)
        path.write_bytes(b"other")
        return result

    return call


def test_the_source_of_a_style_is_what_was_read_though_the_file_changes_meanwhile(named, ink, saved, monkeypatch):
    expected = as_reference(ink), as_reference(saved[1])
    monkeypatch.setattr(style_builder, "open_reference", exchange_after(style_builder.open_reference, ink))
    monkeypatch.setattr(style_module, "read_style_fields", exchange_after(style_module.read_style_fields, saved[1]))
    sources = named.style(ink).source, Style.load(saved[1]).source
    assert tuple(source.references[0] for source in sources if source) == expected
    assert (ink.read_bytes(), saved[1].read_bytes()) == (b"other", b"other")


def test_a_style_file_is_recorded_without_repeating_its_content(generate, saved):
    recipe = generate(style=saved[0]).recipe()
    assert recipe.references == (as_reference(saved[0]),)
    assert (recipe.content, recipe.content_scale, recipe.removal) == ((), 0.7, "subtract")


def test_a_removal_changed_after_loading_is_recorded(generate, saved):
    style = Style.load(saved[0])
    recipe = generate(style=style.with_removal(0.2, "project")).recipe()
    assert (recipe.content, recipe.content_scale, recipe.removal) == ((), 0.2, "project")
    recipe = generate(style=style, content="a mat").recipe()
    assert (recipe.content, recipe.content_scale) == (("a mat",), 0.7)


def test_cleaning_a_loaded_style_records_no_words(generate, saved):
    recipe = generate(style=Style.load(saved[1]).with_removal(0.4, "clean")).recipe()
    assert (recipe.content, recipe.content_scale, recipe.removal) == ((), 0.4, "clean")


def test_a_mix_is_recorded_as_its_files_with_their_weights(generate, saved):
    recipe = generate(style=Style.mix({saved[0]: 0.7, saved[1]: 0.3})).recipe()
    assert recipe.references == (as_reference(saved[0], 0.7), as_reference(saved[1], 0.3))
    assert recipe.content == ()


def test_a_mix_without_a_file_for_each_part_has_no_source(named, reference, saved, ink):
    first, second = map(Style.load, saved)
    mixed = [
        Style.mix({first: 1, named.style(reference): 1}),
        Style.mix({first.with_removal(0.2): 1, second: 1}),
        Style.mix({named.style([ink, ink]): 1, second: 1}),
        Style.mix({first: 1, second: 1}).with_weights([1, 2]),
        replace(first, bindings=(), source=None),
    ]
    assert [style.source for style in mixed] == [None] * len(mixed)


def test_the_source_of_a_style_is_its_files_and_what_was_removed_from_them(named, saved, ink):
    image, style = named.style(ink, content="a cat"), Style.load(saved[0])
    content = content_identity(style)
    assert content[0] == ("a cat",)
    assert image.source == StyleSource((as_reference(ink),), (NO_CONTENT, 0.5, "subtract", None), is_mix=False)
    assert style.source == StyleSource((as_reference(saved[0]),), (content, 0.7, "subtract", None), is_mix=True)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ({"style": Image.new("RGB", (40, 40), "red")}, "image (a reference without a file; pass its path)"),
        ({"style": "ink.png", "curve": [1.0, 0.5]}, "curve"),
        ({"style": "ink.png", "mask": torch.ones(4, 4)}, "a mask without a file"),
        ({"style": "ink.png", "mask": Image.new("L", (4, 4))}, "a mask without a file"),
        (
            {"style": "ink.png", "negative_style": Image.new("RGB", (40, 40), "red")},
            "a negative style without a file",
        ),
        ({"generator": torch.Generator(), "seed": None}, "a generator (use seed=)"),
        ({"guidance_rescale": 0.7}, "guidance_rescale"),
        ({"eta": 0.5, "guidance_rescale": 0.7}, "eta, guidance_rescale"),
    ],
)
def test_what_a_recipe_cannot_record_is_refused_by_name(generate, ink, monkeypatch, tmp_path, arguments, refused):
    monkeypatch.chdir(ink.parent)
    output = generate(**arguments)
    with pytest.raises(JobError) as refusal:
        output.save(tmp_path / "out.png")
    assert str(refusal.value).startswith(f"A recipe does not record {refused}; save the image without one")
    assert not (tmp_path / "out.png").exists()


def test_everything_missing_is_listed_at_once(generate, reference):
    output = generate(style=reference, curve=[1.0], guidance_rescale=0.7)
    with pytest.raises(JobError, match=r"record curve, guidance_rescale, image \(a reference without a file"):
        output.recipe()


def test_what_is_missing_several_times_is_listed_once(generate, named, ink):
    style = named.style(ink)
    output = generate(style=named.style(style, content=np.ones((3, style.dim), np.float32)))
    with pytest.raises(JobError, match=r"record an embedding as content \(pass a file's path\); save"):
        output.recipe()


def test_one_style_conditioning_is_recorded_as_the_arguments_of_a_call_are(generate, named, ink):
    style, settings = named.style(ink), {"blocks": "all", "scale": 0.5, "start": 0.25, "fuse": "adain"}
    recipe = generate(style=StyleConditioning(style, **settings)).recipe()
    assert recipe == generate(style=style, **settings).recipe()


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ([{}, {}], "several StyleConditionings"),
        ([{"curve": [1.0, 0.5]}], "an unconditional StyleConditioning, or one with a curve"),
        ([{"unconditional": True}], "an unconditional StyleConditioning, or one with a curve"),
    ],
)
def test_other_style_conditionings_are_refused_by_name(generate, named, ink, settings, missing):
    output = generate(style=[StyleConditioning(named.style(ink), **each) for each in settings])
    with pytest.raises(JobError, match=f"does not record {missing};"):
        output.recipe()


def test_prompt_embeddings_are_refused_by_name(generate):
    embeds = {"prompt_embeds": torch.randn(1, 77, 32), "pooled_prompt_embeds": torch.randn(1, 24)}
    output = generate(None, **embeds, guidance_scale=1.0)
    with pytest.raises(JobError, match="does not record prompt_embeds, pooled_prompt_embeds;"):
        output.recipe()


def test_a_pipeline_that_cannot_be_loaded_by_name_is_refused(named, styled, short):
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    other = named.with_pipeline(StableDiffusionXLImg2ImgPipeline.from_pipe(named.pipe))
    other.pipe.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "seed": 1}
    outputs = [
        styled("a", **{**short, "output_type": "pil"}, seed=1),
        other("a", image=image, strength=1.0, **arguments),
    ]
    for output in outputs:
        with pytest.raises(JobError, match=r"a pipeline without a name to load it by \(use instantstyle\.load\)"):
            output.recipe()


def test_latents_carry_no_recipe(generate):
    with pytest.raises(JobError, match="Only PIL images carry a recipe; leave output_type out"):
        generate(output_type="latent").recipe()


def test_a_file_that_exists_is_replaced_only_if_forced(generate, tmp_path):
    output = generate(["a", "b"])
    path = output.save(tmp_path / "out.png")
    with pytest.raises(JobError, match="exists already"):
        output.save(path)
    output.save(path, index=1, force=True)
    assert read_recipe(path).prompt == "b"


def test_other_fields_of_the_pipelines_output_are_attributes(generate):
    output = generate()
    assert output.to_tuple()[0] is output.images
    with pytest.raises(AttributeError):
        _ = output.nsfw_content_detected


@pytest.mark.usefixtures("own_pipe")
def test_repr_names_pipeline_model_device_dtype_and_roles(mini, styled):
    assert repr(mini) == (
        "InstantStyle(StableDiffusionXLPipeline, mini, cpu float32, style up_blocks.0.attentions.1–2, "
        "layout down_blocks.2.attentions.1)"
    )
    assert repr(styled) == (
        "InstantStyle(StableDiffusionXLPipeline, SDXL, cpu float32, "
        "style up_blocks.0.attentions.1, layout down_blocks.2.attentions.1, strong-style "
        "down_blocks.1.attentions.0–1, down_blocks.2.attentions.0, mid_block.attentions.0, "
        "up_blocks.0.attentions.0–2, up_blocks.1.attentions.0–2)"
    )
    styled.pipe.unet.to(torch.bfloat16)
    assert "cpu bfloat16" in repr(styled)


def test_html_of_a_style_shows_its_thumbnail_and_escapes_its_name(named, ink):
    style = named.style(ink, content="a <b>cat</b>")
    html = style._repr_html_()
    assert html.startswith('<figure><img alt="" src="data:image/jpeg;base64,/9j/')
    assert "<figcaption>Style(ink.png − &quot;a &lt;b&gt;cat&lt;/b&gt;&quot; × 0.5, CLIP-24)</figcaption>" in html
    bare = Style(torch.zeros(1, 4), torch.zeros(4))._repr_html_()
    assert bare == "<figure><figcaption>Style(reference, CLIP)</figcaption></figure>"


def test_html_of_a_pipeline_lists_its_blocks_with_their_roles(styled):
    html = styled._repr_html_()
    assert html.startswith(f"<table><caption>{styled!r}</caption><tr>")
    rows = dict(re.findall(r"<tr><td>([^<]+)</td><td>([^<]*)</td></tr>", html))
    assert list(rows) == [str(block) for block in styled.architecture.blocks]
    assert rows["up_blocks.0.attentions.1"] == "style, strong-style"
    assert rows["down_blocks.2.attentions.1"] == "layout"
    assert rows["down_blocks.2.attentions.0"] == "strong-style"


def test_a_png_of_an_earlier_version_still_carries_the_same_recipe():
    assert read_recipe(DATA / "recipe.png") == Recipe(
        prompt="a rocket",
        negative_prompt="a dog",
        references=(Reference(name="ink.png", sha256=sha256(DATA / "ink.png")),),
        content=("a cat",),
        content_scale=0.5,
        removal="subtract",
        blocks="style",
        scale=0.9,
        mask=Reference(name="mask.png", sha256=sha256(DATA / "mask.png")),
        start=0.1,
        end=0.9,
        model="mini",
        seed=7,
        num_inference_steps=2,
        guidance_scale=3.0,
        guidance_interval=(0.2, 0.8),
        height=64,
        width=64,
        scheduler="DPMSolverMultistepScheduler",
        dtype="float32",
        versions={
            "instantstyle": "0.1.0",
            "torch": "2.13.0+cpu",
            "diffusers": "0.42.1",
            "transformers": "5.24.0",
        },
    )


def test_a_png_of_an_earlier_version_is_still_reproduced():
    """Other processors and versions round differently, which may move a channel by a few of 255."""
    _, _, comparison = reproduce(DATA / "recipe.png", device="cpu")
    assert comparison.size == comparison.new_size == (64, 64)
    assert comparison.max_difference <= 3


def test_a_style_file_of_an_earlier_version_loads_unchanged():
    style = Style.load(DATA / "projected.style.safetensors")
    assert repr(style) == ('Style(ink.png + neon.png ⊥ ("a cat" + "a mat") × 0.7, CLIP-6, bound for sdxl)')
    fields = (style.weights, style.combine, style.crop, style.encoder_fingerprint)
    assert fields == ((2.0, 1.0), "average", "pad", "b" * 16)
    assert (style.author, style.licence, style.notes) == ("Ada", "CC0-1.0", "Two drawings, “quick”.")
    assert style.thumbnail.startswith(b"\xff\xd8")
    assert style.image_embeds.equal(torch.arange(12).reshape(2, 6) / 8)
    assert style.unconditional.equal(torch.zeros(6))
    assert style.content_embeds is not None
    assert style.content_embeds.equal(torch.arange(12).reshape(2, 6) / 4 - 1)
    assert_close(style.embedding(), torch.tensor([0.075, 0.1125, 0.15, 0.1875, 0.225, 0.2625]), rtol=0, atol=1e-6)
    [bound] = style.bindings
    assert (bound.family, bound.adapter, list(bound.layers), bound.shifts) == ("sdxl", "a" * 16, [LAYER], {})
    key, value = bound.layers[LAYER]
    assert key.float().equal(torch.arange(64).reshape(2, 4, 8) / 8)
    assert value.equal(-key)


def test_a_cleaned_style_file_of_an_earlier_version_loads_unchanged():
    style = Style.load(DATA / "cleaned.style.safetensors")
    assert repr(style) == "Style(ink.png − its tail × 1, CLIP-6, bound for sdxl)"
    assert style.content_embeds is None
    assert style.embedding().equal(torch.arange(6) / 8)
    key, value = style.bindings[0].shifts[LAYER]
    assert key.float().equal(torch.full((2, 4, 8), 0.5))
    assert value.equal(-key)
    assert style.bindings[0].adapter == "a" * 16


def test_a_style_file_is_written_as_before(tmp_path):
    """The bytes of a file depend on nothing but the style."""
    for name in ("projected", "cleaned"):
        path = DATA / f"{name}.style.safetensors"
        again = Style.load(path).save(tmp_path / path.name)
        assert again.read_bytes() == path.read_bytes()


def test_a_probe_file_is_recorded_by_the_blocks_that_it_names(generate, ink, tmp_path):
    path = probe_file(tmp_path / "probe.json")
    blocks = generate(style=ink, blocks=str(path)).recipe().blocks
    assert blocks == "up_blocks.1.attentions.0+up_blocks.1.attentions.1"


def test_a_conditioning_may_name_a_probe_file(named, ink, short, tmp_path):
    path, style = probe_file(tmp_path / "probe.json"), named.style(ink)
    by_file, by_name = (
        named("a", style=StyleConditioning(style, blocks), seed=7, **short).images
        for blocks in (str(path), ["up_blocks.1.attentions.0", "up_blocks.1.attentions.1"])
    )
    assert torch.equal(torch.as_tensor(by_file), torch.as_tensor(by_name))
