"""The public names are fixed: to add or remove one, change this list and the changelog."""

import instantstyle

PUBLIC = [
    "BlockError",
    "CheckpointError",
    "ImageError",
    "InstantStyle",
    "InstantStyleError",
    "Inversion",
    "JobError",
    "LoraStyle",
    "MissingExtra",
    "ModelError",
    "Recipe",
    "ReduxStyle",
    "SharedAttention",
    "Style",
    "StyleConditioning",
    "StyleError",
    "__version__",
    "load",
]


def test_the_public_names_are_those_of_the_list():
    assert sorted(instantstyle.__all__) == PUBLIC


def test_every_public_name_exists():
    assert all(getattr(instantstyle, name) is not None for name in PUBLIC)


def test_every_public_name_has_a_docstring():
    assert all(getattr(instantstyle, name).__doc__ for name in PUBLIC if name != "__version__")
