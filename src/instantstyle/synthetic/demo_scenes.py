"""The references of the demo sheet: held-out scenes that `findings.demo` chooses by a rule."""

import json
from pathlib import Path

import torch

from .scenes import MINI_SCOPE, Scenes, sample_scenes
from .things import THINGS
from .vocabulary import find_known_things

CHOICE = Path(__file__).with_name("demo_scenes.json")
"""What `python -m findings.demo` wrote: the numbers of the chosen candidates, and how many it tried."""

SAMPLED = 800
"""Scenes from which the candidates come."""


def sample_demo_candidates() -> Scenes:
    """Sample the scenes to choose from: objects in the centre, in looks that mini was not trained on."""
    scenes = sample_scenes(SAMPLED, torch.Generator().manual_seed(0), MINI_SCOPE, held_out=True)
    return scenes[scenes.look.held_out & (scenes.layout.category == 0)]


def list_demo_scenes(prompt: str, count: int) -> Scenes:
    """List the references of a demo sheet: the chosen scenes, then other candidates if there are too few.

    Args:
        prompt: The prompt of the sheet; no reference shows a thing that it names.
        count: Number of references.
    """
    candidates, chosen = sample_demo_candidates(), json.loads(CHOICE.read_text())["chosen"]
    others = [number for number in range(len(candidates)) if number not in chosen]
    ordered = candidates[torch.tensor([*chosen, *others])]
    named = torch.tensor([THINGS.index(thing) for thing in find_known_things(prompt)])
    return ordered[(~torch.isin(ordered.thing, named)).nonzero()[:count, 0]]
