"""`python -m tests.studio.screenshots docs/images`: the page in light and dark colours, and on a phone."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from instantstyle.synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image

from .visitor import Visitor, launch_chromium, run_studio

PAGES = {
    "studio": {},
    "studio-dark": {"color_scheme": "dark"},
    "studio-phone": {"width": 390, "height": 844},
}
"""Options of the visitor, by file name."""

PROMPTS = ("a sailboat", "a bell", "an umbrella", "a mushroom")
SEED = "7"


def main(folder: Path) -> None:
    """Take every screenshot with the same reference, prompts and seed."""
    with TemporaryDirectory() as scratch, run_studio(Path(scratch)) as url, launch_chromium() as chromium:
        reference, content = _save_reference(Path(scratch))
        for name, options in PAGES.items():
            visitor = Visitor(chromium, url, **options)
            _generate_images(visitor, reference, content)
            visitor.page.screenshot(path=folder / f"{name}.png", full_page=True)
            visitor.close()


def _generate_images(visitor: Visitor, reference: Path, content: str) -> None:
    visitor.upload_reference(reference)
    visitor.toggle_suggestion(content)
    visitor.locate("#seeds textarea").fill(SEED)
    visitor.page.get_by_label("Lock seed").check()
    for prompt in PROMPTS:
        visitor.generate(prompt)
        visitor.locate("#caption").get_by_text(prompt, exact=True).wait_for()
    visitor.locate("#compare").click()
    visitor.wait_for_status("images from seed")
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.mouse.move(0, 0)
    # Until elements have faded in.
    visitor.page.wait_for_timeout(1000)


def _save_reference(folder: Path) -> tuple[Path, str]:
    scenes = sample_scenes(1, torch.Generator().manual_seed(11), MINI_SCOPE, held_out=True)
    path = folder / "ink.png"
    to_pil_image(scenes.render(256, torch.Generator().manual_seed(11))[0]).save(path)
    return path, describe_thing(int(scenes.thing[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
