"""`instantstyle version`: which releases draw here."""


def run() -> None:
    """Print our version and those of the libraries that a picture depends on."""
    from ..generation.generate import versions

    for name, number in versions().items():
        print(f"{name} {number}")
