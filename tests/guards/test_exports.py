"""The public face is locked: a name comes or goes only by changing this list, and the changelog with it."""

import instantstyle

PUBLIC = [
    "BlockError",
    "CheckpointError",
    "ImageError",
    "InstantStyle",
    "InstantStyleError",
    "JobError",
    "MissingExtra",
    "ModelError",
    "Style",
    "StyleError",
    "StyleConditioning",
    "__version__",
    "load",
]


def test_the_public_names_are_these():
    assert sorted(instantstyle.__all__) == PUBLIC


def test_every_public_name_is_there():
    assert all(getattr(instantstyle, name) is not None for name in PUBLIC)


def test_every_public_thing_is_explained():
    assert all(getattr(instantstyle, name).__doc__ for name in PUBLIC if name != "__version__")
