"""Releases of the packages that an image depends on."""

from importlib.metadata import version

PACKAGES = ("instantstyle", "torch", "diffusers", "transformers")


def library_versions() -> dict[str, str]:
    """Return the installed releases of `PACKAGES` by name.

    That of this package is read from its metadata too, because a module of `utils` must not import the
    package root, from which higher layers are reachable.
    """
    return {name: version(name) for name in PACKAGES}
