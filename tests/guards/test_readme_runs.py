"""The first examples of the README run unchanged on the bundled model."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_first_examples_run_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = sample_scenes(1, torch.Generator().manual_seed(0), MINI_SCOPE)
    to_pil_image(scene.render()[0]).save("ink.png")
    first, using, *_ = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert "load(\"mini\")" in first  # fmt: skip
    assert "using" in using
    names: dict[str, Any] = {}
    exec(first, names)
    names["pipe"] = names["styled"].pipe
    exec(using, names)
    assert Path("rocket.png").exists()
