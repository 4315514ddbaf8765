"""A compiled network takes styles, and is not compiled anew for another one.

In a process of its own: the tests' checks of shapes are Python that no compiler should see.
"""

import json
import subprocess
import sys

import pytest

DRAWINGS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path

import torch
from PIL import Image
from torch._dynamo.testing import CompileCounter

from instantstyle import InstantStyle
from instantstyle.adapter import layers_of
from tests.conftest import base_projection, layer_weights, make_image_encoder, make_pipe

pipe = make_pipe(Path(sys.argv[1]))
state = {"image_proj": base_projection(), "ip_adapter": layer_weights(layers_of(pipe.unet))}
styled = InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder())
picture = Image.effect_noise((64, 48), 80).convert("RGB")
ink, neon = styled.style(picture), styled.style(picture.rotate(90))

def drawn(prompt="a", style=ink, **ways):
    short = dict(num_inference_steps=2, output_type="latent", height=16, width=16)
    return styled(prompt, style=style, seed=1, **ways, **short).images

eager = drawn()
compiled = CompileCounter()
pipe.unet.compile(backend=compiled)
same = torch.allclose(drawn(), eager, atol=1e-5)
told = {"same": same, "first": compiled.frame_count}
ways = {
    "scale": dict(scale=0.5),
    "style": dict(style=neon),
    "prompt": dict(prompt="b"),
    "weights": dict(blocks={"style": 0.3}),
    "blocks": dict(blocks="style+layout"),
    "clean": dict(removal="clean"),
    "clean by less": dict(removal="clean", content_scale=0.5),
    "clean style": dict(removal="clean", style=neon),
    "interval": dict(guidance_interval=(0.0, 0.5)),
    "another interval": dict(guidance_interval=(0.5, 1.0), style=neon, scale=0.5),
}
for name, way in ways.items():
    drawn(**way)
    told[name] = compiled.frame_count

torch._dynamo.reset()
halves = CompileCounter()
pipe.to(torch.bfloat16).unet.compile(backend=halves)
drawn()
told["halves"] = halves.frame_count
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tokenizer_folder, request) -> dict:
    words = [sys.executable, "-c", DRAWINGS, str(tokenizer_folder)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=request.config.rootpath, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_compiled_network_draws_the_same_picture(told):
    assert told["same"]
    assert told["first"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", ["scale", "style", "prompt", "weights"])
def test_it_is_not_compiled_anew_for(told, change):
    assert told[change] == told["first"]


@pytest.mark.slow
def test_cleaning_is_compiled_once_for_all_steps_amounts_and_styles(told):
    assert told["clean"] == told["blocks"] + 1
    assert told["clean style"] == told["clean by less"] == told["clean"]


@pytest.mark.slow
def test_half_a_batch_is_compiled_once_for_all_intervals(told):
    assert told["interval"] == told["clean style"] + 1
    assert told["another interval"] == told["interval"]


@pytest.mark.slow
def test_a_network_in_halves_is_compiled_once_too(told):
    """Its keys and values are made in float32, and are in its dtype before the first step."""
    assert told["halves"] == 1


@pytest.mark.slow
def test_other_layers_are_other_code(told):
    """Which shows that the count can rise."""
    assert told["blocks"] > told["first"]
