"""Run the examples of docs/server.md against a running service."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from instantstyle.generation.model_parts import ModelParts
from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Settings
from instantstyle.server.service import Service

from .conftest import running

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
DOCUMENTED_URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = Settings(folder=tmp_path_factory.mktemp("served"))
    with running(Service([ModelWorker.load(ModelParts("mini"), device="cpu")], settings)) as (_, address, _):
        yield address


@pytest.fixture
def folder(tmp_path, monkeypatch, ink) -> Path:
    """A working directory with the reference image of the examples."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ink.png").write_bytes(ink)
    return tmp_path


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_example_generates_its_images(url, folder, default_size):
    [lines] = examples("python")
    assert DOCUMENTED_URL in lines
    exec(lines.replace(DOCUMENTED_URL, url), {})
    assert [size(folder / name) for name in ("sailboat.png", "mushroom.png")] == [default_size] * 2


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_curl_examples_generate_their_images(url, folder, default_size):
    [lines] = [example for example in examples("sh") if f"{DOCUMENTED_URL}/v1/images" in example]
    done = subprocess.run(["bash", "-ec", lines.replace(DOCUMENTED_URL, url)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"style-[0-9a-f]{24}\n", done.stdout)
    files = "plain.png", "styled.webp", "restyled.png"
    assert [size(folder / name) for name in files] == [default_size] * 3
