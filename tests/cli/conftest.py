"""The command called with words, with its exit code, stdout and stderr as the outcome."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

from instantstyle.cli import main

from ..conftest import make_pipe

STEPS = 8
"""Steps of a command that names none; their number matters to no test."""


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[..., Outcome]:
    """Return a function that runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["instantstyle", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Outcome(code, *capsys.readouterr())

    return command


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch) -> None:
    """Let commands without a number of steps take a few instead of 50, the default of diffusers' SDXL."""
    call: Any = inspect.unwrap(StableDiffusionXLPipeline.__call__)
    parameters = inspect.signature(call).parameters.values()
    defaults = [each for each in parameters if each.default is not inspect.Parameter.empty]
    values = (STEPS if each.name == "num_inference_steps" else each.default for each in defaults)
    monkeypatch.setattr(call, "__defaults__", tuple(values))


@pytest.fixture(scope="session")
def model(tmp_path_factory, tokenizer_folder, state, image_encoder) -> Path:
    """The small random model as a folder for `--model`."""
    folder = tmp_path_factory.mktemp("model")
    make_pipe(tokenizer_folder).save_pretrained(folder)
    image_encoder.save_pretrained(folder / "image_encoder")
    weights: dict[str, torch.Tensor] = {f"{part}.{name}": t for part in state for name, t in state[part].items()}
    save_file(weights, folder / "ip-adapter_small.safetensors")
    return folder
