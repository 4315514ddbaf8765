"""`instantstyle style`, `mix` and `styles`: style files, mixed styles and the library."""

import os
import shutil

import pytest
import torch
from PIL import Image

from instantstyle import Style
from instantstyle.imaging.png_metadata import read_recipe

from .test_generate import SHORT, ink, pixels, refused  # noqa: F401

FILE = "ink.style.safetensors"


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("share") / "styles"
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(folder))
    return folder


@pytest.fixture
def style(run, model, ink):  # noqa: F811
    def command(*words: object):
        return run("style", "ink.png", "--model", model, *words)

    return command


@pytest.fixture
def generate(run, model):
    def command(*words: object, model=model):
        done = run("generate", "a rocket", "--model", model, *SHORT, *words)
        assert (done.code, done.err) == (0, "")
        return pixels(done.out.strip())

    return command


@pytest.fixture
def plain_model(model, tmp_path_factory):
    """The same model without adapter and image encoder."""
    copy = shutil.copytree(model, tmp_path_factory.mktemp("plain") / "model")
    shutil.rmtree(copy / "image_encoder")
    (copy / "ip-adapter_small.safetensors").unlink()
    return copy


def test_a_style_file_gives_the_same_image_as_its_reference(style, generate):
    done = style("--content", "a cat", "--removal", "project")
    assert (done.code, done.out, done.err) == (0, f"{FILE}\n", "")
    words = ("--content", "a cat", "--removal", "project")
    assert generate("--style", FILE, "-o", "a.png") == generate("--style", "ink.png", *words, "-o", "b.png")


def test_the_recipe_holds_the_style_file_and_the_removal(style, generate):
    style("--content", "a cat", "--removal", "project", "--content-scale", 0.7)
    generate("--style", FILE, "-o", "a.png")
    recipe = read_recipe("a.png")
    assert (recipe.references[0].name, recipe.removal, recipe.content_scale) == (FILE, "project", 0.7)
    assert recipe.references[0].sha256


def test_a_bound_style_needs_no_adapter(run, model, ink, generate, plain_model):  # noqa: F811
    done = run("style", "ink.png", "--bind", model, "-o", FILE)
    assert (done.code, done.err) == (0, "")
    here = generate("--style", FILE, "-o", "a.png")
    assert generate("--style", FILE, "-o", "b.png", model=plain_model) == here
    assert generate("--layout", FILE, "--scale", 0, "-o", "c.png", model=plain_model) != here


def test_a_style_can_be_bound_with_an_adapter_of_its_own(style, run, model, ink, tmp_path):  # noqa: F811
    adapter = tmp_path / "mine.safetensors"
    adapter.write_bytes((model / "ip-adapter_small.safetensors").read_bytes())
    style("--bind", model)
    expected = Style.load("ink.style.safetensors")
    style("--bind", model, "--adapter", adapter, "--force")
    assert Style.load("ink.style.safetensors").bindings[0].adapter == expected.bindings[0].adapter


def test_an_unbound_style_is_refused_without_an_adapter(style, run, plain_model):
    style()
    done = run("generate", "a", "--model", plain_model, "--style", FILE, *SHORT, "-o", "a.png")
    assert "names no IP-Adapter" in refused(done)


def test_a_plan_with_a_bound_style_needs_neither_adapter_nor_encoder(run, model, ink):  # noqa: F811
    run("style", "ink.png", "--bind", model, "-o", FILE)
    out = run("generate", "a", "--model", model, "--style", FILE, "--plan", "--device", "cpu").out
    assert "adapter tensors: 0" in out
    assert "image encoder" not in out


def test_a_saved_style_is_changed_without_its_reference(style, run, model, tmp_path):
    style("--content", "a cat")
    (tmp_path / "ink.png").unlink()
    assert run("style", FILE, "--model", model, "--content-scale", 0.1, "-o", f"new.{FILE}").code == 0
    assert Style.load(f"new.{FILE}").content_scale == 0.1


def test_labels_and_thumbnail_are_in_the_style_file(style):
    style("--author", "Ada", "--licence", "CC0", "--notes", "quick", "--name", "Ink", "--crop", "pad")
    found = Style.load(FILE)
    assert (found.author, found.licence, found.notes, found.name) == ("Ada", "CC0", "quick", "Ink")
    assert found.crop == "pad"
    assert found.thumbnail
    style("--no-thumbnail", "--force")
    assert Style.load(FILE).thumbnail == b""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-o", "ink.safetensors"), "should end in .style.safetensors"),
        (("--bind", "sdxl"), "leave --model out"),
        (("nowhere.png",), "nowhere.png does not exist"),
        (("--weight", 1, "--weight", 2), "2 weights"),
        (("--removal", "divide", "--content", "a cat"), "'subtract', 'project'"),
        (("--blocks", "layout"), "--blocks 'layout' selects the blocks to bind; add --bind MODEL"),
        (("--steps", 4), "--steps is the number of steps for which a style is bound; add --bind MODEL"),
        (("--tuned-for", "adian"), "--tuned-for is 'adian'; it is one of add, adain. Did you mean adain?"),
        (("--weight", 2), "The weight 2 of ink.png in references cannot act"),
        (("--content-scale", 0.3), "content_scale can only act on content to remove"),
        (("--texture-scale", 0.3), "texture_scale can only act on a blend of colours and texture"),
    ],
)
def test_invalid_style_options_are_refused(style, tmp_path, words, reason):
    assert reason in refused(style(*words))
    assert os.listdir(tmp_path) == ["ink.png"]


def test_an_existing_style_file_is_overwritten_only_with_force(style):
    style()
    assert "exists already" in refused(style())
    assert style("--force").code == 0


def test_styles_of_the_library_are_used_by_name(run, style, generate, library):
    style("--content", "a cat")
    assert run("styles", "add", FILE).out == f"{library / FILE}\n"
    assert run("styles", "list").out.splitlines() == [
        "name\tbound for\tsize\tstyle",
        f'ink\t–\t{os.path.getsize(FILE) / 1000:.0f} kB\tink.png − "a cat" × 0.5',
    ]
    assert generate("--style", "ink", "-o", "a.png") == generate("--style", FILE, "-o", "b.png")
    assert run("styles", "remove", "ink").code == 0
    assert run("styles", "list").out.count("\n") == 1


def test_an_unknown_name_is_refused_with_a_suggestion(run, style, model):
    style()
    run("styles", "add", FILE)
    for words in (
        ("styles", "remove", "inc"),
        ("styles", "show", "inc"),
        ("generate", "a", "--style", "inc"),
    ):
        assert "Did you mean ink?" in refused(run(*words))


def test_a_damaged_file_is_not_added_to_the_library(run, tmp_path, library):
    (tmp_path / FILE).write_bytes(b"half")
    assert "not a complete style file" in refused(run("styles", "add", FILE))
    assert not library.exists()


def test_a_damaged_style_of_the_library_is_listed_with_a_question_mark(run, library):
    library.mkdir(parents=True)
    (library / FILE).write_bytes(b"half")
    assert "ink\t?\t" in run("styles", "list").out


def test_show_prints_a_style_and_saves_its_card(run, model, ink):  # noqa: F811
    run("style", "ink.png", "--bind", model, "--content", "a cat", "--author", "Ada", "-o", FILE)
    out = run("styles", "show", FILE).out
    assert "style: ink.png\nreferences: 1 image, crop center\nremoved: a cat (× 0.5, subtract)\n" in out
    assert "bound for: sdxl (up_blocks.0.attentions.1; 4 tokens)\n" in out
    assert "author: Ada" in out
    assert run("styles", "show", FILE, "-o", "card.png").out == "card.png\n"
    with Image.open("card.png") as card:
        assert card.size[0] == 720


def test_styles_are_mixed_by_name_and_file(run, style, model, tmp_path):
    style()
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    run("style", "teal.png", "--model", model)
    run("styles", "add", FILE)
    done = run("mix", "ink=0.7", "teal.style.safetensors=0.3", "-o", "both.style.safetensors")
    assert (done.code, done.out, done.err) == (0, "both.style.safetensors\n", "")
    assert Style.load("both.style.safetensors").label == "ink.png × 0.7 + teal.png × 0.3"
    run("mix", "teal.style.safetensors=0.3", "ink=0.7", "-o", "htob.style.safetensors")
    both, other = ((tmp_path / f"{name}.style.safetensors").read_bytes() for name in ("both", "htob"))
    assert both == other


def test_what_a_mix_is_no_longer_bound_for_is_named(run, style, model, tmp_path):
    """The keys of a mixed embedding are not the mean of keys: a mix of embeddings cannot keep its bindings."""
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    files = {"ink": ("ink.png", "all"), "teal": ("teal.png", "style")}
    for name, (image, blocks) in files.items():
        assert run("style", image, "--bind", model, "--blocks", blocks, "-o", f"{name}.style.safetensors").code == 0
    style("-o", "unbound.style.safetensors")
    words = ("mix", "ink.style.safetensors=0.7", "teal.style.safetensors=0.3", "-o")
    done = run(*words, "a.style.safetensors")
    assert done.err == (
        "a.style.safetensors is not bound for sdxl, as styles that it is made of are: it is made of their embeddings. "
        "Bind it: instantstyle style a.style.safetensors --bind sdxl; or mix keys: --on keys.\n"
    )
    mixed, keys = Style.load("a.style.safetensors"), run(*words, "b.style.safetensors", "--on", "keys")
    assert mixed.bindings == ()
    assert keys.err == (
        "b.style.safetensors is bound for sdxl in those layers only, if any, in which all of its styles are.\n"
    )
    [mean] = Style.load("b.style.safetensors").bindings
    again = run("style", "a.style.safetensors", "--bind", model, "--blocks", "style", "-o", "c.style.safetensors")
    assert (again.code, again.err) == (0, "")
    [bound] = Style.load("c.style.safetensors").bindings
    layer = next(iter(mean.layers))
    assert not torch.allclose(mean.layers[layer][0][1], bound.layers[layer][0][1], rtol=0.01, atol=0.01)
    silent = (
        ("mix", "ink.style.safetensors", "teal.style.safetensors=0"),
        ("mix", "unbound.style.safetensors", "unbound.style.safetensors"),
        ("style", "ink.style.safetensors", "--model", model),
    )
    for place, command in enumerate(silent):
        assert run(*command, "-o", f"{place}.style.safetensors").err == "", command
    for command in (("ink.style.safetensors", "teal.style.safetensors"), ("ink.style.safetensors", "--content", "a")):
        done = run("style", *command, "--model", model, "-o", "d.style.safetensors", "--force")
        assert "d.style.safetensors is not bound for sdxl, as styles that it is made of are" in done.err, command


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("ink=much",), "the weight 'much'"),
        (("ink=-1",), "the weight '-1'"),
        (("nowhere=1",), "no style 'nowhere'"),
        (("ink.style.safetensors", "--on", "air"), "there is no"),
    ],
)
def test_invalid_mixes_are_refused(run, words, reason):
    assert reason.lower() in refused(run("mix", *words, "-o", "m.style.safetensors")).lower()


def test_verbose_prints_a_saved_style(style, run, model):
    style()
    done = run("generate", "a", "--model", model, "--style", FILE, *SHORT, "--verbose", "-o", "a.png")
    assert f"reference {FILE}: Style(ink.png, CLIP-24)" in done.err


@pytest.mark.slow
def test_a_blend_is_the_same_from_images_and_from_its_style_file(style, generate, tmp_path, run, model):
    Image.effect_noise((40, 30), 90).convert("RGB").save(tmp_path / "noise.png")
    words = ("--texture-from", "noise.png", "--colour-scale", 0.9, "--content-image", "noise.png")
    words = (*words, "--removal", "mask", "--mask-quantile", 0.8)
    assert style(*words, "-o", "blend.style.safetensors").code == 0
    expected = generate("--colours-from", "ink.png", *words, "-o", "a.png")
    assert generate("--style", "blend.style.safetensors", "-o", "b.png") == expected
    recipe = read_recipe("a.png")
    assert [file.name for file in recipe.texture_references + recipe.content_references] == ["noise.png"] * 2
    assert (recipe.colour_scale, recipe.texture_scale, recipe.mask_quantile) == (0.9, 1.0, 0.8)
    # Two kept styles give the same blend, and one without its grey embeddings is refused in one line.
    for name in ("ink", "noise"):
        run("style", f"{name}.png", "--model", model, "--keep-grey")
    kept = ("--style", FILE, "--texture-from", "noise.style.safetensors", *words[2:])
    assert generate(*kept, "-o", "c.png") == expected
    style("--force")
    done = run("generate", "a rocket", "--model", model, *SHORT, *kept)
    assert "has no embedding of its images made grey" in refused(done)
