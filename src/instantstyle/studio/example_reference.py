"""An example for the empty page: a reference image of the synthetic dataset, its content and a prompt."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..recipe_types import Reference
from ..synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image
from .image_store import ImageStore

EXAMPLE_PROMPT = "a mushroom"
"""A thing that the bundled model draws well in the example's style."""

SEED = 79
"""Seed of the scene: a drum with a glowing outline."""

SIDE = 256
"""Side of the image in pixels."""


def store_example(store: ImageStore) -> tuple[Reference, str]:
    """Render the example's reference into the store.

    Args:
        store: Where the reference is kept, as an uploaded one is.

    Returns:
        Path and SHA-256 of the stored image, and its content in words.
    """
    scene = sample_scenes(1, torch.Generator().manual_seed(SEED), MINI_SCOPE)
    image = to_pil_image(scene.render(SIDE, torch.Generator().manual_seed(SEED))[0])
    with TemporaryDirectory(prefix="instantstyle-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "example.png")
        image.save(path)
        return store.add_reference(path), describe_thing(int(scene.thing[0]))
