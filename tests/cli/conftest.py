"""The command called with words, with its exit code, stdout and stderr as the outcome."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from instantstyle.cli import main

from ..conftest import make_pipe


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


@pytest.fixture(scope="session")
def model(tmp_path_factory, tokenizer_folder, state, image_encoder) -> Path:
    """The small random model as a folder for `--model`."""
    folder = tmp_path_factory.mktemp("model")
    make_pipe(tokenizer_folder).save_pretrained(folder)
    image_encoder.save_pretrained(folder / "image_encoder")
    weights: dict[str, torch.Tensor] = {f"{part}.{name}": t for part in state for name, t in state[part].items()}
    save_file(weights, folder / "ip-adapter_small.safetensors")
    return folder
