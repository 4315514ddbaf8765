"""The page as a person meets it: the bundled model, in Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes, thing_words

from .visitor import CHROMIUM, Visitor, browser, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The studio as the command opens it."""
    with running(tmp_path_factory.mktemp("studio")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture
def visit(chromium, url) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def arrive(**how) -> Visitor:
        visitors.append(Visitor(chromium, url, **how))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.close()


@pytest.fixture(scope="module")
def ink(tmp_path_factory) -> tuple[Path, str]:
    """A picture, and what it shows."""
    scenes = sample_scenes(1, torch.Generator().manual_seed(11), MINI_SCOPE)
    path = tmp_path_factory.mktemp("ink") / "ink.png"
    as_image(scenes.pictures(192, torch.Generator().manual_seed(11))[0]).save(path)
    return path, thing_words(int(scenes.thing[0]))


def test_from_a_reference_to_a_picture_that_tells_its_recipe_and_back(visit, ink, tmp_path):
    path, shows = ink
    visitor = visit()
    visitor.drop(path)
    visitor.see("#hints").get_by_text(shows, exact=True).click()
    visitor.draw("a rocket")
    visitor.see("#picture img").wait_for()
    made = visitor.download(tmp_path)
    recipe = read_recipe(made)
    assert (recipe.prompt, recipe.content, recipe.references[0].name) == ("a rocket", (shows,), "ink.png")

    visitor.page.reload()
    visitor.see("#history button").first.click()
    visitor.see("#caption").get_by_text("a rocket", exact=True).wait_for()

    other = visit()
    other.see("text=Restore a picture's settings").click()
    other.see("#made input[type=file]").set_input_files(made)
    other.hear("The picture's settings are back")
    assert other.see("#prompt textarea").input_value() == "a rocket"
    other.see("#draw").click()
    other.hear("Drawn in")
    again = other.download(tmp_path)
    assert read_recipe(again) == recipe
    assert visitor.asked == other.asked == {visitor.page.url.split("/")[2]}


def test_styles_are_saved_and_mixed(visit, ink, tmp_path):
    path, shows = ink
    visitor = visit()
    visitor.drop(path)
    visitor.see("text=Save this style").click()
    for name in ("ink", "neon"):
        visitor.see("#style-name textarea").fill(name)
        visitor.see("#save-style").click()
        visitor.hear(f"{name} is saved")
        visitor.see("#hints").get_by_text(shows, exact=True).click()
    visitor.see("text=Two mixed").click()
    for label, name in (("First style", "ink"), ("Second style", "neon")):
        visitor.page.get_by_label(label).click()
        visitor.page.get_by_role("option", name=name, exact=True).last.click()
    visitor.draw("a rocket")
    recipe = read_recipe(visitor.download(tmp_path))
    assert [(one.name, one.weight) for one in recipe.references] == [("ink", 0.5), ("neon", 0.5)]


def test_side_by_side_stands_what_each_part_does_and_what_the_scale_does(visit, ink):
    path, shows = ink
    visitor = visit()
    visitor.drop(path)
    visitor.see("#hints").get_by_text(shows, exact=True).click()
    visitor.see("#prompt textarea").fill("a rocket")
    for button, labels in (
        ("#compare", ["no reference", f"style − {shows}"]),
        ("#sweep", ["scale 0.2", "scale 1.4"]),
    ):
        visitor.see(button).click()
        visitor.see("#strip").get_by_text(labels[-1], exact=True).wait_for()
        visitor.hear("pictures from seed")
        shown = visitor.see("#strip .caption-label").all_inner_texts()
        assert [shown[0].strip(), shown[-1].strip()] == labels
    visitor.see("#strip button").first.click()
    visitor.see("#caption").get_by_text("style × 0.2").wait_for()


def test_a_file_that_is_no_picture_is_told_in_words(visit, tmp_path):
    broken = tmp_path / "ink.png"
    broken.write_bytes(b"no picture")
    visitor = visit()
    visitor.see("#reference input[type=file]").set_input_files(broken)
    visitor.hear(r"ink\.png is not a picture we can read")
    visitor.see("#prompt textarea").fill("<b>a</b> rocket")
    visitor.see("#draw").click()
    visitor.hear(r"ink\.png is not a picture we can read")
    assert "Traceback" not in visitor.page.inner_text("body")


def test_a_drawing_is_cancelled_and_the_next_one_drawn(visit):
    visitor = visit()
    visitor.see("text=More settings").click()
    visitor.page.get_by_label("Steps").fill("400")
    visitor.see("#prompt textarea").fill("a rocket")
    visitor.see("#draw").click()
    visitor.hear("Step")
    visitor.see("#picture img").wait_for()
    visitor.see("#cancel").click()
    visitor.hear("Cancelled")
    visitor.page.get_by_label("Steps").fill("4")
    visitor.draw("a rocket")


def test_every_deed_is_done_by_the_keyboard_alone(visit, ink, tmp_path):
    path, _ = ink
    visitor = visit()
    visitor.drop(path)
    visitor.page.evaluate("document.activeElement.blur()")
    reached: set[str] = set()
    for place in ("hints", "prompt", "draw"):
        visitor.tab_to(place)
        if place == "hints":
            visitor.page.keyboard.press("Enter")
            # The hint becomes content by way of the server.
            visitor.see("#content .token").wait_for()
        elif place == "prompt":
            visitor.page.keyboard.type("a rocket")
    visitor.page.keyboard.press("Enter")
    visitor.hear("Drawn in")
    for _ in range(80):
        reached |= visitor.tab()
    asked = {"reference", "content", "hints", "prompt", "draw", "seeds", "lock"}
    assert asked | {"picture", "download", "reuse", "compare", "sweep", "history", "clear"} <= reached
    visitor.tab_to("history")
    visitor.page.keyboard.press("Enter")
    visitor.tab_to("download")
    with visitor.page.expect_download() as held:
        visitor.page.keyboard.press("Enter")
    held.value.save_as(tmp_path / "made.png")
    recipe = read_recipe(tmp_path / "made.png")
    assert (recipe.prompt, len(recipe.content)) == ("a rocket", 1)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_as_dark_as_the_browser_prefers(visit, scheme, dark):
    assert (paper(visit(color_scheme=scheme)) < 64) is dark


def test_the_keyboard_alone_draws_on_a_phone_in_the_dark(visit):
    visitor = visit(width=360, height=740, color_scheme="dark")
    visitor.see("#prompt textarea").focus()
    visitor.page.keyboard.type("a <b>rocket</b> ${1}")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.id") == "draw"
    visitor.page.keyboard.press("Enter")
    visitor.hear("Drawn in")
    assert "a <b>rocket</b> ${1}" in visitor.see("#caption").inner_text()
    wide, room = visitor.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room
    assert paper(visitor) < 64


def paper(visitor: Visitor) -> int:
    """How light the page is, of 255."""
    colour = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(map(int, colour.removeprefix("rgb(").rstrip(")").split(",")))
