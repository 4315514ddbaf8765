"""Choose the references of `instantstyle demo`: the first with which all blocks leak and the style blocks do not.

    python -m findings.demo

Candidates are tried in their order, each with the seed that its row of the sheet will have. Chosen are those where
the classifier finds the reference's object in the image of all blocks, and the requested object in that of the style
blocks.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from findings.study import load_mini
from instantstyle import InstantStyle
from instantstyle.metrics import load_classifier
from instantstyle.synthetic import THINGS, Scenes, describe_thing, to_pil_image
from instantstyle.synthetic.demo_scenes import CHOICE, sample_demo_candidates

PROMPTED, SEED = "mushroom", 0
"""The object and the seed of the sheet by default."""

CHOSEN, TRIED = 5, 150
"""References to find, of which the sheet shows three, and the most candidates to try."""


@torch.no_grad()
def find_object(styled: InstantStyle, scene: Scenes, blocks: str, seed: int) -> str:
    """Generate the demo's image with a scene as reference, and return the object that the classifier finds in it."""
    [reference] = scene.render(192)
    out = styled(
        describe_thing(THINGS.index(PROMPTED)),
        style=to_pil_image(reference),
        blocks=blocks,
        seed=seed,
        output_type="pt",
    )
    return THINGS[int(load_classifier()(out.images.float().cpu())["thing"][0])]


def choose_references(styled: InstantStyle, candidates: Scenes, count: int) -> tuple[list[int], int]:
    """Find the first candidates with which all blocks show the reference's object, and the style blocks the prompted.

    Args:
        styled: The model.
        candidates: Scenes; those that show the requested object are left out.
        count: Number of references to find.

    Returns:
        The numbers of the chosen ones, and how many were tried.
    """
    chosen: list[int] = []
    tried = 0
    for number, thing in enumerate(candidates.thing.tolist()):
        if len(chosen) == count:
            break
        if THINGS[thing] == PROMPTED:
            continue
        scene, seed = candidates[number : number + 1], SEED + len(chosen)
        tried += 1
        leaks = find_object(styled, scene, "all", seed) == THINGS[thing]
        if leaks and find_object(styled, scene, "style", seed) == PROMPTED:
            chosen.append(number)
    return chosen, tried


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose the references and write their numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=CHOICE)
    parser.add_argument("--chosen", type=int, default=CHOSEN, help="references to find")
    parser.add_argument("--tried", type=int, default=TRIED, help="most candidates to try")
    args = parser.parse_args(arguments)
    chosen, tried = choose_references(load_mini(), sample_demo_candidates()[: args.tried], args.chosen)
    settings = {"prompt": describe_thing(THINGS.index(PROMPTED)), "seed": SEED}
    args.output.write_text(json.dumps({"settings": settings, "tried": tried, "chosen": chosen}) + "\n")
    print(f"{args.output}: {len(chosen)} of {tried}")


if __name__ == "__main__":
    main()
