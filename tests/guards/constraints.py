"""Write constraints.txt: the versions of this environment's direct dependencies, with which the tests ran.

python -m tests.guards.constraints
"""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FILE = ROOT / "constraints.txt"
HEAD = "# Versions of the direct dependencies with which the tests ran: `make constraints` writes this file.\n"


def list_requirements() -> list[Requirement]:
    """List the direct dependencies of the package and of all its extras, except the package itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    return [each for each in map(Requirement, texts) if each.name != project["name"]]


def main() -> None:
    """Write the file; the part of a version that names a local build is left out."""
    names = sorted({each.name.lower() for each in list_requirements()})
    FILE.write_text(HEAD + "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in names))


if __name__ == "__main__":
    main()
