"""`instantstyle version`: the releases that generate images here."""


def run() -> None:
    """Print the version of instantstyle and of the libraries that an image depends on."""
    from ..utils.versions import library_versions

    for name, number in library_versions().items():
        print(f"{name} {number}")
