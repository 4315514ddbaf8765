"""Mutated inputs of every reader end with a result or a typed error in one short line, in bounded time and memory.

The inputs are mutations of valid ones by a generator with a fixed seed: bytes are changed, parts are cut, repeated or
exchanged, and values are inserted that parsers have failed on.
"""

import io
import json
import random
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from instantstyle.batch import parse_seeds, read_manifest
from instantstyle.core.style import Style
from instantstyle.evaluation import parse_scales
from instantstyle.generation.inputs import list_images_with_content, read_prompts
from instantstyle.generation.sweep import Grid
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.imaging.loading import open_mask, open_reference
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.recipe import Recipe
from instantstyle.unet.probe_file import resolve_block_spec
from instantstyle.utils.result_journal import ResultJournal

from .conftest import base_projection
from .helpers import find_offence

INPUTS = 5000
"""Number of inputs in the slow tier, over all readers."""

FEW = 400
"""Number of inputs in every run."""

SECONDS = 10
"""Largest processor time for one input; the slowest need one second."""

GROWTH = 2_000_000
"""Largest growth of the memory of the process, in kB: a damaged header can ask for 512 MB of pixels several times."""

MESSAGE = 2500
"""Largest number of characters of an error; the tensors that an adapter lacks are listed in one."""

RECIPE = Recipe.model_validate(
    {
        **{"prompt": "a rocket", "negative_prompt": "blurred", "content": ["a cat"], "seed": 7, "scale": 0.5},
        **{"references": [{"name": "ink.png", "sha256": "0" * 64}], "blocks": {"style": 1.0, "layout": 0.5}},
        **{"guidance_interval": [0.2, 0.8], "versions": {"torch": "2.6.0"}, "height": 64, "width": 64},
    }
)

TOKENS = [
    *(b"\\ud800", b"\xed\xa0\x80", b"\\u0000", b"\0", b"\xff\xfe", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x1b[2J"),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b"'",
        b",",
        b";",
        b":",
        b"{",
        b"[",
        b"}",
        b"]",
        b"- ",
        b"? ",
        b"| ",
        b"#",
        b"=",
        b"%",
    ),
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"true", b"null", b'""', b"[]", b"{}", b"0x" + b"f" * 5000, b"1" * 5000),
    *(
        b"1" * 400,
        b"2020-13-45",
        b"!!timestamp x",
        b"!!int x",
        b"!!binary x",
        b"!!python/none x",
        b"&a [*a]",
        b"*a",
        b"<<: ",
    ),
    *(b"[" * 990, b"[" * 500 + b"]" * 500, b'{"a":' * 300, b"- " * 300, b"x" * 300, b"x" * 140_000, b"../" * 2000),
    *(b"/proc/self/mem", b"/dev/zero", b"/", b"~", b"0:1000000000000000000", b"0:1e999999:1", b"sNaN", b"*" * 50),
    *(b"\x7f\xff\xff\xff", b"\xff" * 8, b"\x80\x02}q\0.", b"PK\x03\x04", b"IHDR", b"IDAT", b"iTXt", b"iCCP", b"eXIf"),
]
"""Parts that parsers, encoders and file systems have failed on."""


def mutate(generator: random.Random, valid: bytes) -> bytes:
    """Change an input in one to four places."""
    data = bytearray(valid)
    for _ in range(generator.randint(1, 4)):
        place, length = generator.randrange(len(data) + 1), generator.randrange(1, 20)
        match generator.randrange(6):
            case 0:
                data[place : place + 1] = bytes([generator.randrange(256)])
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + length] * generator.choice([1, 2, 50])
            case 3:
                del data[place:]
            case 4:
                data[place : place + generator.choice([0, 1, length])] = generator.choice(TOKENS)
            case _:
                other = generator.randrange(len(data) + 1)
                data[place : place + length] = data[other : other + length]
    return bytes(data)


Reader = Callable[[Path], object]


def read_text(parse: Callable[[str], object]) -> Reader:
    """Return a reader of a file whose text a user would type; bytes that are not UTF-8 become half surrogates."""
    return lambda path: parse(path.read_bytes().decode(errors="surrogateescape"))


def read_recipe_text(text: str) -> object:
    return Recipe.from_json(text).to_json()


def read_png_of_recipe(path: Path) -> object:
    """Read a whole PNG whose text is the file's, as another program could have written it."""
    text = path.read_bytes().decode("latin-1").replace("\0", "0")
    png = save_png(Image.new("RGB", (8, 8)), path.with_suffix(".png"), texts={"instantstyle": text}, force=True)
    return read_recipe(png)


def read_adapter(path: Path) -> object:
    return IPAdapterCheckpoint.open(path).read_all()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def save_image(format_: str, **settings: object) -> bytes:
    file = io.BytesIO()
    pixels = Image.effect_mandelbrot((24, 16), (-2, -1, 1, 1), 20)
    image = pixels if settings.pop("grey", False) else pixels.convert("RGBA" if format_ == "PNG" else "RGB")
    image.save(file, format=format_, **settings)
    return file.getvalue()


def make_readers(folder: Path) -> Iterator[tuple[str, bytes, Reader]]:
    """Yield the name of the file, a valid input and the reader of each kind."""
    row = {
        "prompt": "a rocket",
        "style": "a.png",
        "content": ["a cat"],
        "blocks": {"style": 1},
        "seed": 3,
        "scale": 0.5,
    }
    journal = {"version": 1, "settings": {"steps": 3}, "cells": {"a": {"look": [0.5]}}}
    blocks = ["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"]
    probe = {
        "version": 1,
        "settings": {"blocks": blocks, "network": "sdxl"},
        "roles": {"style": {"blocks": blocks[:1], "confidence": 0.5}},
        "cells": {},
    }
    grid = Grid(RECIPE, SweepAxis.parse("scale=0.2:1:0.4"), SweepAxis.parse("prompt=a,b")).to_json().encode()
    yaml = (
        b"- &a {prompt: a, style: a.png, scale: 0.5, seed: 3}\n"
        b"- {<<: *a, content: &c [x, y]}\n- {prompt: c, style: a.png, content: *c}\n"
    )
    seed = {"seed": 0}
    yield "jobs.jsonl", as_json(row) + b"\n" + as_json(row), lambda path: read_manifest(path, seed)
    yield (
        "jobs.csv",
        b'prompt,style,content,seed\n"a, rocket",a.png,a cat; a dog,3\nb,,,\n',
        lambda path: read_manifest(path, seed),
    )
    yield "jobs.yaml", yaml, lambda path: read_manifest(path, seed)
    yield "prompts.txt", "a rocket\nä crown\r\n火箭\n".encode(), lambda path: read_prompts([str(path)])
    yield "contents.json", as_json({"a.png": "a cat"}), lambda path: list(list_images_with_content([path.parent]))
    yield "contents.csv", b'file,content\na.png,"a cat"\n', lambda path: list(list_images_with_content([path.parent]))
    yield "seeds", b"1:10", read_text(parse_seeds)
    yield "axis", b'prompt="a, b",c', read_text(SweepAxis.parse)
    yield "range", b"scale=0.2:1.4:0.2", read_text(SweepAxis.parse)
    yield "scales", b"0.2:1.2:0.2", read_text(parse_scales)
    yield "probe.json", as_json(probe), lambda path: resolve_block_spec(f"{path}:style")
    yield "journal.json", as_json(journal), lambda path: ResultJournal(path, {"steps": 3})
    yield "recipe", RECIPE.to_json().encode(), read_text(read_recipe_text)
    yield "recipe.txt", RECIPE.to_json().encode(), read_png_of_recipe
    yield "grid", grid, read_text(Grid.from_json)
    file = save_png(Image.new("RGB", (8, 8)), folder / "seed.png", RECIPE)
    yield "image.png", file.read_bytes(), read_recipe

    layer = {f"1.to_{letter}_ip.weight": torch.ones(2, 4) for letter in "kv"}
    adapter = {"image_proj": base_projection(4, 4), "ip_adapter": layer}
    for name, zipped in (("zip.bin", True), ("pickle.bin", False)):
        torch.save(adapter, folder / name, _use_new_zipfile_serialization=zipped)
        yield name, (folder / name).read_bytes(), read_adapter
    save_file({f"{part}.{name}": x for part in adapter for name, x in adapter[part].items()}, folder / "a.safetensors")
    yield "a.safetensors", (folder / "a.safetensors").read_bytes(), read_adapter
    style = Style(torch.ones(1, 4), torch.zeros(4), name="ink")
    saved = style.save(folder / "a.style.safetensors")
    yield "b.style.safetensors", saved.read_bytes(), Style.load

    yield "a.png", save_image("PNG"), open_reference
    yield "mask.png", save_image("PNG"), open_mask
    for format_ in ("JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        yield f"a.{format_.lower()}", save_image(format_), open_reference


def read_file(read: Reader, path: Path) -> None:
    """Read a file; its result does not matter."""
    read(path)


def fuzz(folder: Path, monkeypatch: pytest.MonkeyPatch, inputs: int, seed: int) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    readers = list(make_readers(folder))
    count = -(-inputs // len(readers))
    offences: list[str] = []
    for name, valid, read in readers:
        place = folder / name.replace(".", "-")
        place.mkdir()
        (place / "a.png").write_bytes(save_image("PNG"))
        generator = random.Random(f"{seed} {name}")
        (place / name).write_bytes(valid)
        read(place / name)
        for number in range(count):
            data = mutate(generator, valid)
            (place / name).write_bytes(data)
            if offence := find_offence(partial(read_file, read, place / name), seconds=SECONDS, message=MESSAGE):
                offences.append(f"{name} {number}: {offence} for {data[:300]!r}")
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert offences == []
    assert growth < GROWTH, f"{growth} kB more memory"


def test_some_mutated_inputs_end_with_a_result_or_a_typed_error(tmp_path, monkeypatch):
    fuzz(tmp_path, monkeypatch, FEW, seed=1)


@pytest.mark.slow
def test_many_mutated_inputs_end_with_a_result_or_a_typed_error(tmp_path, monkeypatch):
    fuzz(tmp_path, monkeypatch, INPUTS, seed=0)
