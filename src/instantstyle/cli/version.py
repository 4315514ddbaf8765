"""`instantstyle version`: the releases that generate images here."""


def run() -> None:
    """Print the version of instantstyle and of the libraries that an image depends on."""
    from ..generation.generate import installed_versions

    for name, number in installed_versions().items():
        print(f"{name} {number}")
