"""The page in Chromium, with the bundled model."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import expect

from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image

from .visitor import CHROMIUM, Visitor, launch_chromium, run_studio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Address of a studio that is run as a command."""
    with run_studio(tmp_path_factory.mktemp("studio")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with launch_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium, url) -> Iterator[Callable[..., Visitor]]:
    """Open the page as a new user."""
    visitors: list[Visitor] = []

    def open_page(**options) -> Visitor:
        visitors.append(Visitor(chromium, url, **options))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        visitor.close()


@pytest.fixture(scope="module")
def ink(tmp_path_factory) -> tuple[Path, str]:
    """A reference image and its content."""
    scenes = sample_scenes(1, torch.Generator().manual_seed(11), MINI_SCOPE)
    path = tmp_path_factory.mktemp("ink") / "ink.png"
    to_pil_image(scenes.render(192, torch.Generator().manual_seed(11))[0]).save(path)
    return path, describe_thing(int(scenes.thing[0]))


def test_a_downloaded_image_contains_its_recipe_and_restores_the_form(visit, ink, tmp_path):
    path, content = ink
    visitor = visit()
    visitor.upload_reference(path)
    visitor.toggle_suggestion(content)
    visitor.generate("a rocket")
    visitor.locate("#image img").wait_for()
    made = visitor.download(tmp_path)
    recipe = read_recipe(made)
    assert (recipe.prompt, recipe.content, recipe.references[0].name) == ("a rocket", (content,), "ink.png")

    visitor.page.reload()
    visitor.locate("#history button").first.click()
    visitor.locate("#caption").get_by_text("a rocket", exact=True).wait_for()

    other = visit()
    other.locate("text=Restore settings from an image").click()
    other.locate("#recipe-image input[type=file]").set_input_files(made)
    other.wait_for_status(r"The settings of the image are restored\.")
    assert other.locate("#prompt textarea").input_value() == "a rocket"
    other.locate("#generate").click()
    other.wait_for_status("Generated in")
    again = other.download(tmp_path)
    assert read_recipe(again) == recipe
    assert visitor.requested_hosts == other.requested_hosts == {visitor.page.url.split("/")[2]}


def test_an_image_with_letters_beyond_ascii_in_its_name_is_displayed_and_downloaded(visit, tmp_path):
    visitor = visit()
    visitor.generate("a rocket, überall")
    visitor.page.wait_for_function("document.querySelector('#image img')?.naturalWidth > 0")
    assert read_recipe(visitor.download(tmp_path)).prompt == "a rocket, überall"


def test_styles_are_saved_and_mixed(visit, ink, tmp_path):
    path, content = ink
    visitor = visit()
    visitor.upload_reference(path)
    visitor.locate("text=Save this style").click()
    for name in ("ink", "neon"):
        visitor.locate("#style-name textarea").fill(name)
        visitor.locate("#save-style").click()
        visitor.wait_for_status(f"{name} is saved")
        visitor.toggle_suggestion(content)
    visitor.locate("text=Mix of two").click()
    for label, name in (("First style", "ink"), ("Second style", "neon")):
        # The label of the slider contains that of the second style.
        visitor.page.get_by_label(label, exact=True).click()
        visitor.page.get_by_role("option", name=name, exact=True).last.click()
    visitor.generate("a rocket")
    recipe = read_recipe(visitor.download(tmp_path))
    assert [(one.name, one.weight) for one in recipe.references] == [("ink", 0.5), ("neon", 0.5)]


def test_comparisons_show_the_parts_of_the_method_and_the_scales(visit, ink):
    path, content = ink
    visitor = visit()
    visitor.upload_reference(path)
    visitor.toggle_suggestion(content)
    visitor.locate("#prompt textarea").fill("a rocket")
    for button, labels in (
        ("#compare", ["no reference", "content removed"]),
        ("#sweep", ["strength 0.2", "strength 1.4"]),
    ):
        visitor.locate(button).click()
        visitor.locate("#comparison").get_by_text(labels[-1], exact=True).wait_for()
        visitor.wait_for_status("images from seed")
        captions = visitor.locate("#comparison .caption-label").all_inner_texts()
        assert [captions[0].strip(), captions[-1].strip()] == labels
    visitor.locate("#comparison button").first.click()
    visitor.locate("#caption").get_by_text("style × 0.2").wait_for()


def test_the_empty_page_offers_an_example_whose_content_is_selected(visit):
    visitor = visit()
    visitor.locate("#example").click()
    visitor.locate("#suggestions label").first.wait_for()
    expect(visitor.locate("#suggestions input:checked")).to_have_count(1)
    expect(visitor.locate("#suggestions label:has(:checked)")).to_have_text(re.compile(r"a drum 0\.\d+"))
    expect(visitor.locate("#content .token")).to_have_text(re.compile("a drum"))
    expect(visitor.locate("#example")).to_be_hidden()
    # Removed from the content, the phrase is no longer selected.
    visitor.locate("#content .token-remove").first.click()
    expect(visitor.locate("#suggestions input:checked")).to_have_count(0)
    visitor.generate(visitor.locate("#prompt textarea").input_value())
    visitor.locate("#image img").wait_for()


def test_another_source_leaves_no_content_and_a_return_suggests_it_again(visit, ink):
    path, content = ink
    visitor = visit()
    visitor.upload_reference(path)
    visitor.toggle_suggestion(content)
    visitor.locate("#content .token").wait_for()
    image, saved, _ = visitor.locate(".segments label").all()
    saved.click()
    expect(visitor.locate("#content .token")).to_have_count(0)
    expect(visitor.locate("#suggestions label")).to_have_count(0)
    image.click()
    visitor.locate("#suggestions label").first.wait_for()
    expect(visitor.locate("#suggestions input:checked")).to_have_count(0)


def test_an_image_is_displayed_in_its_actual_size_on_request(visit):
    visitor = visit()
    visitor.generate("a sailboat")
    visitor.page.wait_for_function("document.querySelector('#image img')?.naturalWidth > 0")
    visitor.locate("#actual-size input").check()
    expect(visitor.locate("#image.actual-size")).to_have_count(1)
    assert visitor.locate("#image img").evaluate("image => getComputedStyle(image).objectFit") == "none"
    visitor.locate("#actual-size input").uncheck()
    expect(visitor.locate("#image.actual-size")).to_have_count(0)


def test_the_arrow_of_a_closed_panel_points_right_and_of_an_open_one_down(visit):
    visitor = visit()
    arrow = visitor.locate(".label-wrap:has-text('More settings') .icon")
    # Gradio's arrow points down; rotations are matrix(cos, sin, -sin, cos, 0, 0).
    expect(arrow).to_have_css("transform", "matrix(0, -1, 1, 0, 0, 0)")
    visitor.locate("text=More settings").click()
    expect(arrow).to_have_css("transform", re.compile(r"none|matrix\(1, 0, 0, 1, 0, 0\)"))


def test_a_file_that_is_no_image_gives_a_readable_error(visit, tmp_path):
    broken = tmp_path / "ink.png"
    broken.write_bytes(b"no image")
    visitor = visit()
    visitor.locate("#reference input[type=file]").set_input_files(broken)
    visitor.wait_for_status(r"ink\.png is not an image in a supported format")
    visitor.locate("#prompt textarea").fill("<b>a</b> rocket")
    visitor.locate("#generate").click()
    visitor.wait_for_status(r"ink\.png is not an image in a supported format")
    assert "Traceback" not in visitor.page.inner_text("body")


def test_a_generation_is_cancelled_and_the_next_one_finishes(visit):
    visitor = visit()
    visitor.locate("text=More settings").click()
    visitor.page.get_by_label("Steps", exact=True).fill("400")
    visitor.locate("#prompt textarea").fill("a rocket")
    visitor.locate("#generate").click()
    visitor.wait_for_status("Step")
    visitor.locate("#image img").wait_for()
    visitor.locate("#cancel").click()
    visitor.wait_for_status("Cancelled")
    visitor.page.get_by_label("Steps", exact=True).fill("4")
    visitor.generate("a rocket")


def test_every_action_is_reached_by_the_keyboard(visit, ink, tmp_path):
    path, _ = ink
    visitor = visit()
    visitor.upload_reference(path)
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.tab_to("suggestions")
    visitor.page.keyboard.press("Space")
    # The server adds the suggestion to the content.
    visitor.locate("#content .token").wait_for()
    visitor.tab_to("prompt")
    visitor.page.keyboard.type("a rocket")
    visitor.tab_to("generate")
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_status("Generated in")
    visitor.tab_to("reference", "content", "suggestions", "prompt", "generate", "seeds", "lock")
    visitor.tab_to("image", "download", "reuse", "compare", "sweep", "history", "clear")
    visitor.tab_to("history")
    visitor.page.keyboard.press("Enter")
    visitor.tab_to("download")
    with visitor.page.expect_download() as download:
        visitor.page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "made.png")
    recipe = read_recipe(tmp_path / "made.png")
    assert (recipe.prompt, len(recipe.content)) == ("a rocket", 1)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_colour_scheme_follows_the_browser(visit, scheme, dark):
    assert (background_lightness(visit(color_scheme=scheme)) < 64) is dark


def test_the_keyboard_alone_generates_on_a_phone_in_dark_colours(visit):
    visitor = visit(width=360, height=740, color_scheme="dark")
    visitor.locate("#prompt textarea").focus()
    visitor.page.keyboard.type("a <b>rocket</b> ${1}")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.id") == "generate"
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_status("Generated in")
    assert "a <b>rocket</b> ${1}" in visitor.locate("#caption").inner_text()
    content_width, width = visitor.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert content_width <= width
    assert background_lightness(visitor) < 64


def background_lightness(visitor: Visitor) -> int:
    """Return the largest channel of the page's background colour, 0..255."""
    colour = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(map(int, colour.removeprefix("rgb(").rstrip(")").split(",")))
