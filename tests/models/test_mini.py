"""The bundled model itself: that it ships, and that it does what the method is for."""

import pytest
import torch

import instantstyle
from instantstyle import metrics
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, THINGS, Scenes, to_pil_image, sample_scenes, describe_thing


@pytest.fixture(scope="module")
def mini():
    styled = instantstyle.load("mini")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.fixture(scope="module")
def references() -> Scenes:
    """Five things in the middle, in looks that mini was never trained on."""
    scenes = sample_scenes(200, torch.Generator().manual_seed(3), MINI_SCOPE, held_out=True)
    fits = (scenes.layout.category == 0) & scenes.look.held_out
    return scenes[fits.nonzero()[:5, 0]]


def test_it_weighs_at_most_sixty_megabytes():
    assert sum(file.stat().st_size for file in MINI_FOLDER.rglob("*") if file.is_file()) <= 60e6


def test_its_files_hold_no_pickles():
    assert {file.suffix for file in MINI_FOLDER.rglob("*.*") if file.is_file()} <= {".json", ".safetensors"}


def test_it_draws_the_things_it_is_asked_for_far_above_chance(mini):
    prompts = [describe_thing(thing) for thing in range(MINI_SCOPE.things)]
    pictures = mini(prompts, seed=0, num_inference_steps=12, output_type="pt").images
    seen = metrics.load_classifier()(pictures.float())["thing"]
    assert (seen == torch.arange(MINI_SCOPE.things)).float().mean() > 0.3  # chance is one in as many


def test_a_style_hands_over_the_references_colours(mini, references):
    """Nearer by a fifth at least, on the mean of five references and four things each."""
    things = torch.tensor([THINGS.index(thing) for thing in ("fish", "tree", "cup", "bell")])
    prompts = [describe_thing(thing) for thing in things.tolist()]
    options = {"seed": 0, "num_inference_steps": 12, "output_type": "pt"}
    apart = {"plain": 0.0, "styled": 0.0}
    for row, picture in enumerate(references.pictures()):
        palette = references.look.palette[row, [0, 2]]
        for name, style in (("plain", None), ("styled", mini.style(to_pil_image(picture)))):
            seen = metrics.load_classifier()(mini(prompts, style=style, **options).images.float())
            apart[name] += (seen.palette[:, [0, 2]] - palette).pow(2).sum(-1).sqrt().mean().item()
    assert apart["styled"] < 0.8 * apart["plain"]
