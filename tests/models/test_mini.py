"""The bundled model: its files, and whether it follows prompts and references."""

import pytest
import torch

import instantstyle
from instantstyle import metrics
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, THINGS, Scenes, describe_thing, sample_scenes, to_pil_image


@pytest.fixture(scope="module")
def mini():
    styled = instantstyle.load("mini")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.fixture(scope="module")
def references() -> Scenes:
    """Render five centred things in looks that mini was not trained on."""
    scenes = sample_scenes(200, torch.Generator().manual_seed(3), MINI_SCOPE, held_out=True)
    fits = (scenes.layout.category == 0) & scenes.look.held_out
    return scenes[fits.nonzero()[:5, 0]]


def test_it_has_at_most_sixty_megabytes():
    assert sum(file.stat().st_size for file in MINI_FOLDER.rglob("*") if file.is_file()) <= 60e6


def test_its_files_are_not_pickles():
    assert {file.suffix for file in MINI_FOLDER.rglob("*.*") if file.is_file()} <= {".json", ".safetensors"}


@pytest.mark.slow
def test_it_generates_the_requested_things_far_above_chance(mini):
    things = range(0, MINI_SCOPE.things, 6)
    prompts = [describe_thing(thing) for thing in things]
    images = mini(prompts, seed=0, output_type="pt").images
    seen = metrics.load_classifier()(images.float())["thing"]
    assert (seen == torch.tensor(things)).float().mean() > 0.3  # chance: 1 / MINI_SCOPE.things


@pytest.mark.slow
def test_a_style_transfers_the_colours_of_the_reference(mini, references):
    """Colour distances fall by at least a fifth, on the mean of five references and four things each."""
    things = torch.tensor([THINGS.index(thing) for thing in ("fish", "tree", "cup", "bell")])
    prompts = [describe_thing(thing) for thing in things.tolist()]
    options = {"seed": 0, "output_type": "pt"}
    distance = {"plain": 0.0, "styled": 0.0}
    for row, image in enumerate(references.render()):
        palette = references.look.palette[row, [0, 2]]
        for name, style in (("plain", None), ("styled", mini.style(to_pil_image(image)))):
            seen = metrics.load_classifier()(mini(prompts, style=style, **options).images.float())
            distance[name] += (seen.palette[:, [0, 2]] - palette).pow(2).sum(-1).sqrt().mean().item()
    assert distance["styled"] < 0.8 * distance["plain"]
