"""Styles in transformers that are compiled, cast layer by layer or offloaded."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload

from instantstyle import InstantStyle

from ..parity.flux import make_adapter, make_flux
from ..parity.test_flux import CALL, difference, load_into_diffusers
from .kinds import KINDS, draw_kind, make_kind

CPU = torch.device("cpu")


@pytest.fixture
def flux(tokenizer_folder) -> Any:
    return make_flux(tokenizer_folder)


def draw(pipe: Any, image_encoder: Any, reference: Any) -> Any:
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    return styled("a", style=reference, blocks="all", seed=3, **CALL).images


SCRIPT = """
import json, sys, warnings

warnings.simplefilter("ignore")
from pathlib import Path

import torch
from PIL import Image
from torch._dynamo.testing import CompileCounter

from tests.dit.kinds import draw_kind, make_kind
from tests.parity.test_flux import difference

image = Image.effect_noise((64, 48), 80).convert("RGB")
results = {}
for name in ("whole", "in place", "block by block") if sys.argv[2] == "xlabs" else ("whole",):
    torch._dynamo.reset()
    styled = make_kind(sys.argv[2], Path(sys.argv[1]))
    pipe = styled.pipe

    def draw(reference=image, **settings):
        return draw_kind(sys.argv[2], styled, reference, **settings)

    expected, counter = draw(), CompileCounter()
    if name == "whole":
        pipe.transformer = torch.compile(pipe.transformer, backend=counter)
    elif name == "in place":
        pipe.transformer.compile(backend=counter)
    else:
        pipe.transformer.compile_repeated_blocks(backend=counter)
    results[name] = {"difference": difference(draw(), expected), "first": counter.frame_count}
    draw(image.rotate(90))
    draw(scale=0.5)
    results[name]["later"] = counter.frame_count
print(json.dumps(results))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_transformer_gives_the_same_image_and_is_not_compiled_again(tokenizer_folder, kind):
    """In a process of its own: the shape checks that the tests enable must not be compiled."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tokenizer_folder), kind],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    results = json.loads(done.stdout.splitlines()[-1])
    for name, found in results.items():
        assert found["difference"] < 1e-5, name
        assert found["later"] == found["first"] > 0, name


CHANGES = {
    "offloaded by groups": lambda pipe: pipe.transformer.enable_group_offload(
        onload_device=CPU, offload_device=CPU, offload_type="leaf_level"
    ),
    "offloaded by accelerate": lambda pipe: cpu_offload(pipe.transformer, execution_device=CPU),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_transformer_gives_the_same_image(tokenizer_folder, reference, kind, change):
    styled = make_kind(kind, tokenizer_folder)
    expected = draw_kind(kind, styled, reference)
    CHANGES[change](styled.pipe)
    assert difference(draw_kind(kind, styled, reference), expected) < 1e-5
    # A second call finds what the first one left.
    assert difference(draw_kind(kind, styled, reference), expected) < 1e-5


def test_weights_of_eight_bits_equal_those_of_diffusers(flux, image_encoder, reference):
    plain = draw(flux, image_encoder, reference)
    flux.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    ours = draw(flux, image_encoder, reference)
    assert difference(ours, plain) > 1e-3
    theirs = load_into_diffusers(flux, image_encoder)
    generator = torch.Generator().manual_seed(3)
    assert difference(ours, theirs(prompt="a", ip_adapter_image=reference, generator=generator, **CALL).images) < 1e-5


QUANTISED = """
import json, sys, warnings

warnings.simplefilter("ignore")
from pathlib import Path

import torch
from PIL import Image
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from tests.conftest import make_image_encoder
from tests.dit.kinds import KINDS, draw_kind, make_kind
from tests.parity.test_flux import CALL, difference, load_into_diffusers

image, results = Image.effect_noise((64, 48), 80).convert("RGB"), {}
for kind in KINDS:
    styled = make_kind(kind, Path(sys.argv[1]))
    full = draw_kind(kind, styled, image)
    quantize_(styled.pipe.transformer, Int8WeightOnlyConfig())
    ours = draw_kind(kind, styled, image)
    other = draw_kind(kind, styled, image.rotate(90))
    results[kind] = {"full": difference(ours, full), "other": difference(other, ours)}
    if kind == "xlabs":
        theirs = load_into_diffusers(styled.pipe, make_image_encoder())
        theirs.set_ip_adapter_scale(0.7)
        call = {"ip_adapter_image": image, "generator": torch.Generator().manual_seed(3), **CALL}
        results["diffusers"] = difference(ours, theirs(prompt="a", **call).images)
print(json.dumps(results))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao, which no extra installs: it prints on import")
def test_quantised_weights_equal_those_of_diffusers(tokenizer_folder):
    """torchao's weights of eight bits; in a process of its own, as it warns when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", QUANTISED, str(tokenizer_folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    results = json.loads(done.stdout.splitlines()[-1])
    assert results.pop("diffusers") < 1e-5
    for kind, found in results.items():
        assert 0 < found["full"] < 0.2, kind
        assert found["other"] > 1e-3, kind
