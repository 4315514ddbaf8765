"""Releases of the packages that an image depends on."""

from importlib.metadata import version

LIBRARIES = ("torch", "diffusers", "transformers")


def library_versions() -> dict[str, str]:
    """Return the installed releases of this package and of `LIBRARIES`, by name."""
    from .. import __version__

    return {"instantstyle": __version__, **{name: version(name) for name in LIBRARIES}}
