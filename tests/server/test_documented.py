"""The examples of docs/server.md, as they stand there, against a running service."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from instantstyle.generation.worker import Painter
from instantstyle.server import Settings
from instantstyle.server.service import Service

from .conftest import running

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
WRITTEN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = Settings(folder=tmp_path_factory.mktemp("served"))
    with running(Service([Painter.loaded("mini", None, None, "cpu")], settings)) as (_, address, _):
        yield address


@pytest.fixture
def here(tmp_path, monkeypatch, ink) -> Path:
    """An empty folder but for the picture that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ink.png").write_bytes(ink)
    return tmp_path


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def examples(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_the_clients_lines_draw(url, here, drawn_size):
    [lines] = examples("python")
    assert WRITTEN in lines
    exec(lines.replace(WRITTEN, url), {})
    assert [size(here / name) for name in ("rocket.png", "crown.png")] == [drawn_size] * 2


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_curls_lines_draw(url, here, drawn_size):
    _, lines = examples("sh")
    assert WRITTEN in lines
    done = subprocess.run(["bash", "-ec", lines.replace(WRITTEN, url)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"style-[0-9a-f]{24}\n", done.stdout)
    drawn = "plain.png", "styled.webp", "restyled.png"
    assert [size(here / name) for name in drawn] == [drawn_size] * 3
