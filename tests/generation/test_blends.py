"""Blends, pictures as content and the colour transfer in recipes: as in Python, recorded, reproduced and hinted at."""

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instantstyle import InstantStyle, JobError, Style, StyleError
from instantstyle.core.latent_colours import LatentColours
from instantstyle.errors import ReferenceWarning
from instantstyle.generation.generate import generate
from instantstyle.generation.load import is_plain
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.generation.worker import Finished, ModelWorker
from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.loading import file_sha256
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

from ..conftest import make_pipe

SHORT = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, image_encoder) -> InstantStyle:
    names = {"model": "small", "adapter": None, "image_encoder": None}
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder, recipe_fields=names)


@pytest.fixture
def files(tmp_path, monkeypatch, reference) -> dict[str, Reference]:
    """Three images, of which one is grey, in the working directory."""
    monkeypatch.chdir(tmp_path)
    tinted = Image.fromarray(np.asarray(reference)[::-1] // 2 + np.array([90, 10, 0], dtype=np.uint8))
    for name, image in (("ink", reference), ("warm", tinted), ("grey", reference.convert("L"))):
        image.save(f"{name}.png")
    return {path.stem: Reference(name=path.name, sha256=file_sha256(path)) for path in Path().glob("*.png")}


def make(**fields: object) -> Recipe:
    return Recipe.model_validate({"prompt": "a", "seed": 7, "model": "small", **SHORT, **fields})


def generate_one(styled: InstantStyle, recipe: Recipe) -> tuple[bytes, Recipe]:
    [(image, complete)] = generate(styled, recipe)
    return image.tobytes(), complete


def test_a_recipe_with_a_texture_generates_as_the_blend_and_records_its_scales(styled, files):
    pixels, complete = generate_one(styled, make(references=(files["warm"],), texture_references=(files["ink"],)))
    blend = styled.style("warm.png", texture="ink.png")
    assert styled("a", style=blend, seed=7, **SHORT).images[0].tobytes() == pixels
    assert (complete.colour_scale, complete.texture_scale) == (1.1, 1.0)
    assert generate_one(styled, complete) == (pixels, complete)
    tuned = complete.replace(colour_scale=0.4)
    assert generate_one(styled, tuned)[0] != pixels


def test_the_recipe_of_a_call_with_a_blend_generates_it_again(styled, files):
    blend = styled.style("warm.png", texture=["ink.png"], texture_scale=0.5, content=Path("grey.png"), removal="mask")
    blend = blend.with_removal(mask_quantile=0.8)
    output = styled("a", style=blend, seed=7, **SHORT)
    recipe = output.recipe()
    assert (recipe.references, recipe.texture_references) == ((files["warm"],), (files["ink"],))
    assert (recipe.content, recipe.content_references) == ((), (files["grey"],))
    assert (recipe.colour_scale, recipe.texture_scale, recipe.mask_quantile) == (1.1, 0.5, 0.8)
    assert generate_one(styled, recipe)[0] == output.images[0].tobytes()


def test_a_saved_blend_is_tuned_by_a_recipe_and_stays_bound_where_nothing_changes(styled, files):
    blend = styled.bind(styled.style("warm.png", texture="ink.png"))
    blend.save("blend.style.safetensors", exact=True)
    saved = make(references=({"name": "blend.style.safetensors"},), model="sdxl")
    assert is_plain(saved)
    assert is_plain(saved.replace(colour_scale=1.1))
    assert not is_plain(saved.replace(colour_scale=0.4))
    pixels, complete = generate_one(styled, saved.replace(colour_scale=0.4))
    expected = styled("a", style=blend.with_blend(0.4), seed=7, **SHORT).images[0]
    assert (pixels, complete.colour_scale) == (expected.tobytes(), 0.4)
    # A saved style without what a blend needs is refused before it is drawn.
    styled.style("warm.png").save("warm.style.safetensors")
    with pytest.raises(StyleError, match=r"warm\.png has no embedding of its images made grey"):
        generate_one(
            styled, make(references=({"name": "warm.style.safetensors"},), texture_references=(files["ink"],))
        )


def test_pictures_of_the_content_are_removed_beside_words(styled, files):
    recipe = make(references=(files["ink"],), content=("a",), content_references=(files["warm"],), content_scale=0.2)
    style = styled.style("ink.png", content=["a", Path("warm.png")], content_scale=0.2)
    output = styled("a", style=style, seed=7, **SHORT)
    pixels, complete = generate_one(styled, recipe)
    assert pixels == output.images[0].tobytes()
    assert (output.recipe().content, output.recipe().content_references) == (("a",), (files["warm"],))
    assert complete.content_references == (files["warm"],)
    assert "Style content reference: warm.png" in format_a1111(complete)
    embedding = styled.style("ink.png", content=styled.style("warm.png").embedding().numpy())
    with pytest.raises(JobError, match="an embedding as content"):
        styled("a", style=embedding, seed=7, **SHORT).recipe()


@pytest.mark.slow
def test_what_was_made_of_styles_in_memory_is_reproduced_bit_by_bit_or_refused_by_name(styled, files):
    """Weights of textures, and content that shares its name or its file with other content."""
    for folder, name in (("one", "warm"), ("two", "grey")):
        Path(folder).mkdir()
        Image.open(f"{name}.png").convert("RGB").save(f"{folder}/c.png")
    x = np.random.RandomState(0).randn(2, styled.style("ink.png").dim).astype(np.float32)
    unnamed, other = Image.open("warm.png"), Image.open("grey.png").convert("RGB")
    made = {"file": Path("one/c.png"), "array": x[0], "picture": unnamed}
    saved = {
        name: styled.style("ink.png", content=content).save(f"{name}.style.safetensors")
        for name, content in made.items()
    }
    loaded = {name: Style.load(path) for name, path in saved.items()}
    changed = styled.style(loaded["picture"], content=other)
    textures = {"ink.png": 3.0, "grey.png": 1.0}
    grey = [styled.style(name, keep_grey=True) for name in textures]
    squashed = styled.style("warm.png", crop="squash")
    cases: dict[str, tuple[Style, str | None]] = {
        "weights of textures": (styled.style("warm.png", texture=textures), None),
        "weights of a mix as texture": (
            Style.blend(styled.style("warm.png", keep_grey=True), Style.mix(zip(grey, (3, 1), strict=True))),
            None,
        ),
        "a saved style as it is": (loaded["file"], None),
        "another file of the same name": (styled.style(loaded["file"], content=Path("two/c.png")), None),
        "another embedding": (styled.style(loaded["array"], content=x[1]), "an embedding as content"),
        "another picture": (changed, "an image as content"),
        "a mix of that": (
            Style.mix([(changed, 1), (styled.style("warm.png"), 1)]),
            "or was changed; save it to a file",
        ),
        "a style as content": (styled.style("ink.png", content=styled.style("warm.png")), None),
        "a saved style as content": (styled.style("ink.png", content=loaded["file"]), None),
        "a changed one": (styled.style("ink.png", content=loaded["file"].with_removal(1.0)), "as content"),
        "a blend": (styled.style("ink.png", content=styled.style("warm.png", texture="ink.png")), "as content"),
        "its content": (styled.style("ink.png", content=styled.style("warm.png", content="a")), "as content"),
        "its crop": (styled.style("ink.png", content=squashed), "as content"),
        "its crop, alike": (styled.style("ink.png", crop="squash", content=squashed), None),
        "words one by one": (styled.minus(styled.style("ink.png", content="a cat"), "a dog"), None),
        "words after a picture": (styled.minus(styled.style("ink.png", content=[Path("warm.png"), "a"]), ["b"]), None),
    }
    wrong: dict[str, str] = {}
    for name, (style, refusal) in cases.items():
        output, found = styled("a", style=style, seed=7, **SHORT), None
        try:
            if generate_one(styled, output.recipe())[0] != output.images[0].tobytes():
                found = "another image"
        except JobError as error:
            found = str(error)
        if (found is None) != (refusal is None) or (refusal or "") not in (found or ""):
            wrong[name] = f"{found}"
    assert not wrong


def test_references_can_be_subtracted_from_the_first(styled, files):
    recipe = make(references=(files["ink"], files["warm"], files["grey"]), combine="subtract")
    one, two, three = (styled.style(f"{name}.png").embedding() for name in ("ink", "warm", "grey"))
    style = styled.style(["ink.png", "warm.png", "grey.png"], combine="subtract")
    assert style.embedding().allclose(one - (two + three) / 2)
    assert generate_one(styled, recipe)[0] == styled("a", style=style, seed=7, **SHORT).images[0].tobytes()
    with pytest.raises(StyleError, match="give two references or more"):
        generate_one(styled, recipe.replace(references=(files["ink"],)))


def test_the_colour_transfer_is_that_of_the_reference_and_is_recorded(styled, files):
    recipe = make(references=(files["warm"],), colour_transfer=0.5, colour_transfer_interval=(0.0, 0.5))
    pixels, complete = generate_one(styled, recipe)
    colours = LatentColours(Path("warm.png"), 0.5, 0.0, 0.5)
    output = styled("a", style="warm.png", latent_colours=colours, seed=7, **SHORT)
    assert output.images[0].tobytes() == pixels
    assert output.recipe() == complete
    assert generate_one(styled, complete) == (pixels, complete)
    assert generate_one(styled, recipe.replace(colour_transfer=0.0))[0] != pixels
    default = generate_one(styled, recipe.replace(colour_transfer_interval=None))[1]
    assert default.colour_transfer_interval == (0.2, 0.3)


def test_a_call_with_the_colours_of_a_file_records_them(styled, files):
    """With the texture of another file, and without a style."""
    colours = LatentColours("warm.png", 0.7, 0.0, 0.5)
    blend = styled.style("warm.png", texture="ink.png")
    plain = styled("a", seed=7, **SHORT).images[0].tobytes()
    styled.style("ink.png").save("ink.style.safetensors")
    saved = Reference(name="ink.style.safetensors", sha256=file_sha256(Path("ink.style.safetensors")))
    warm, ink = files["warm"], files["ink"]
    cases: list[tuple[Any, list[Any], Any]] = [
        (blend, [warm], None),
        (None, [], warm),
        ("ink.png", [ink], warm),
        (["warm.png", "ink.png"], [warm, ink], warm),
        ("ink.style.safetensors", [saved], warm),
    ]
    for style, references, image in cases:
        output = styled("a", style=style, latent_colours=colours, seed=7, **SHORT)
        recipe = output.recipe()
        assert (recipe.references, recipe.colour_image) == (tuple(references), image)
        assert (recipe.colour_transfer, recipe.colour_transfer_interval) == (0.7, (0.0, 0.5))
        pixels = output.images[0].tobytes()
        assert generate_one(styled, recipe)[0] == pixels != plain
    unchanged = styled("a", latent_colours=LatentColours("warm.png", 0.0), seed=7, **SHORT)
    assert (unchanged.recipe().references, unchanged.recipe().colour_transfer) == ((), None)
    Path("ink.png").replace("warm.png")
    assert output.recipe() == recipe
    with pytest.raises(JobError, match=r"warm\.png was changed after its recipe was made"):
        generate_one(styled, recipe)


def test_colours_that_no_field_records_are_named(styled, files):
    warm, without_file = LatentColours("warm.png"), "image (a reference without a file; pass its path)"
    cases = [
        (styled, "warm.png", LatentColours(Path("warm.png").read_bytes())),
        (styled, "warm.png", LatentColours("warm.png", noise=0.1)),
        (styled, Image.open("ink.png"), warm),
    ]
    named: list[str] = []
    for model, style, colours in cases:
        with pytest.raises(JobError) as refusal:
            model("a", style=style, latent_colours=colours, seed=7, **SHORT).recipe()
        named.append(str(refusal.value).removeprefix("A recipe does not record ").partition("; save the image")[0])
    noise = "latent_colours with another noise than 0.01"
    assert named == ["latent_colours of a picture without a file (pass its path)", noise, without_file]


def test_the_colour_transfer_takes_one_image(styled, files):
    with pytest.raises(JobError, match="colour_transfer takes the colours of one image, and there are 2"):
        make(references=(files["ink"], files["warm"]), colour_transfer=0.5)
    styled.style("ink.png").save("ink.style.safetensors")
    with pytest.raises(JobError, match=r"ink\.style\.safetensors is a saved style"):
        generate_one(styled, make(references=({"name": "ink.style.safetensors"},), colour_transfer=0.5))


@pytest.mark.filterwarnings("ignore::instantstyle.errors.ReferenceWarning")
def test_a_grey_colour_source_is_among_the_hints_of_an_image(styled, files):
    recipe = make(references=(files["grey"],), texture_references=(files["ink"],))
    *_, finished = ModelWorker(styled).stream([recipe], Event())
    assert isinstance(finished, Finished)
    assert finished.warnings[-1].startswith("grey.png is grey: it has no colour to take")
    *_, finished = ModelWorker(styled).stream([recipe.replace(references=(files["warm"],))], Event())
    assert isinstance(finished, Finished)
    assert not any("grey" in warning for warning in finished.warnings)


def test_a_grey_colour_source_warns_in_python(styled, files):
    with pytest.warns(ReferenceWarning, match=r"grey\.png is grey"):
        generate_one(styled, make(references=(files["grey"],), texture_references=(files["ink"],)))


def test_a_sweep_varies_textures_and_scales(files):
    axis = SweepAxis.parse("texture=ink.png,warm.png")
    assert axis.field == "texture_references"
    assert [value[0].name for value in axis.values] == ["ink.png", "warm.png"]
    assert SweepAxis.parse("colour-scale=0.5:1.5:0.5").values == ("0.5", "1.0", "1.5")
