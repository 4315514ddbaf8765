import subprocess
import sys

import pytest

import instantstyle


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running the code."""
    program = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import instantstyle") & {"diffusers", "transformers", "torch", "PIL", "pydantic"}


def test_the_check_above_can_fail():
    assert "torch" in loaded_by("import instantstyle; instantstyle.Style")


def test_the_public_face_is_sorted_and_whole():
    assert instantstyle.__all__ == sorted(instantstyle.__all__)
    assert all(getattr(instantstyle, name) for name in instantstyle.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Stile'"):
        instantstyle.Stile  # noqa: B018
