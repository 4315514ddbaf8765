"""Errors name a command that installs what is missing, from an installation as from a clone."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from instantstyle.utils import missing_package
from instantstyle.utils.missing_package import NAME, format_install, missing_package_error

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py")]


def test_an_installed_package_names_its_extras_and_a_clone_itself(monkeypatch):
    wanted = "instantstyle[kolors]", "protobuf"
    assert format_install(*wanted) == "pip install 'instantstyle[kolors]' protobuf"

    def is_absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(missing_package, "distribution", is_absent)
    assert format_install(*wanted) == "pip install '.[kolors]' protobuf in the clone"
    assert format_install("s3fs") == "pip install s3fs"


def test_the_error_has_the_command_and_what_to_do_instead():
    error = missing_package_error("MP4 files need av", "instantstyle[video]", why="is broken", otherwise=", or wait")
    assert str(error) == "MP4 files need av, which is broken: pip install 'instantstyle[video]', or wait."


def test_extras_that_errors_name_exist_and_commands_are_formatted_in_one_place():
    texts = {path: path.read_text() for path in SOURCES}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for text in texts.values() for extra in re.findall(rf"{NAME}\[(\w+)\]", text)}
    assert named <= {*extras}
    assert {"control", "kolors", "lora", "ray", "server", "studio", "video"} <= named
    assert [path.name for path, text in texts.items() if "pip install" in text] == ["missing_package.py"]


def test_the_name_is_that_of_the_project():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == NAME
