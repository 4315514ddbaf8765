"""Errors for packages that are not installed, with the command that installs them."""

from importlib.metadata import PackageNotFoundError, distribution

from ..errors import MissingExtra

NAME = "instantstyle"


def missing_package_error(
    needs: str, *requirements: str, why: str = "is not installed", otherwise: str = ""
) -> MissingExtra:
    """Make the error for a package that something needs.

    Args:
        needs: What needs which package, such as `MP4 files need the package av`.
        requirements: What pip is to install, as in `format_install`.
        why: What is wrong with the package.
        otherwise: What to do instead of installing it, which follows the command.
    """
    return MissingExtra(f"{needs}, which {why}: {format_install(*requirements)}{otherwise}.")


def format_install(*requirements: str) -> str:
    """Format the command that installs packages.

    pip takes the extras of an installed `instantstyle`, also of an editable one, from the installed files, so that
    `pip install 'instantstyle[ray]'` works before there is a release. Where the code runs from a clone without being
    installed, the command is one to run in the clone.

    Args:
        requirements: Names of packages, or of extras of this package, such as `instantstyle[ray]`.
    """
    parts, in_clone = [*requirements], ""
    if any(part.startswith(f"{NAME}[") for part in parts) and not _is_installed():
        parts = [f".{part.removeprefix(NAME)}" if part.startswith(f"{NAME}[") else part for part in parts]
        in_clone = " in the clone"
    return f"pip install {' '.join(repr(part) if '[' in part else part for part in parts)}{in_clone}"


def _is_installed() -> bool:
    try:
        distribution(NAME)
    except PackageNotFoundError:
        return False
    return True
