"""`python -m tests.studio.screenshots docs/images`: the page wide, wide in the dark, and on a phone."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes, thing_words

from .visitor import Visitor, browser, running

PAGES = {
    "studio": {},
    "studio-dark": {"color_scheme": "dark"},
    "studio-phone": {"width": 390, "height": 844},
}
"""By the file's name, how the visitor sees."""

PROMPTS = ("a guitar", "a rocket", "a crown", "an umbrella")
SEED = "7"


def main(folder: Path) -> None:
    """Each page from the same reference, prompts and seed."""
    with TemporaryDirectory() as scratch, running(Path(scratch)) as url, browser() as chromium:
        reference, shows = _reference(Path(scratch))
        for name, how in PAGES.items():
            visitor = Visitor(chromium, url, **how)
            _work(visitor, reference, shows)
            visitor.page.screenshot(path=folder / f"{name}.png", full_page=True)
            visitor.close()


def _work(visitor: Visitor, reference: Path, shows: str) -> None:
    visitor.drop(reference)
    visitor.see("#hints").get_by_text(shows, exact=True).click()
    visitor.see("#seeds textarea").fill(SEED)
    visitor.page.get_by_label("Lock seed").check()
    for prompt in PROMPTS:
        visitor.draw(prompt)
        visitor.see("#caption").get_by_text(prompt, exact=True).wait_for()
    visitor.see("#compare").click()
    visitor.hear("pictures from seed")
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.mouse.move(0, 0)
    # For what fades in.
    visitor.page.wait_for_timeout(1000)


def _reference(folder: Path) -> tuple[Path, str]:
    scenes = sample_scenes(1, torch.Generator().manual_seed(11), MINI_SCOPE, held_out=True)
    path = folder / "ink.png"
    as_image(scenes.pictures(256, torch.Generator().manual_seed(11))[0]).save(path)
    return path, thing_words(int(scenes.thing[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
