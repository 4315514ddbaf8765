"""`instantstyle version`: the releases that generate images here."""

from . import options
from .console import print_json

EXAMPLES = ("instantstyle version",)


def run(json: options.Json = False) -> None:
    """Print the version of instantstyle and of the libraries that an image depends on."""
    from ..utils.versions import library_versions

    versions = library_versions()
    if json:
        print_json(versions)
        return
    for name, number in versions.items():
        print(f"{name} {number}")
