"""A compiled UNet accepts styles and is not compiled again for another style.

The calls run in a process of their own: the shape checks that the tests enable must not be compiled.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path

import torch
from PIL import Image
from torch._dynamo.testing import CompileCounter

from tests.conftest import make_shallow

styled = make_shallow(Path(sys.argv[1]))
pipe = styled.pipe
image = Image.effect_noise((64, 48), 80).convert("RGB")
ink, neon = styled.style(image), styled.style(image.rotate(90))

def generate(prompt="a", style=ink, **arguments):
    short = dict(num_inference_steps=2, output_type="latent", height=16, width=16)
    return styled(prompt, style=style, seed=1, **arguments, **short).images

eager = generate()
counter = CompileCounter()
pipe.unet.compile(backend=counter)
same = torch.allclose(generate(), eager, atol=1e-5)
counts = {"same": same, "first": counter.frame_count}
calls = {
    "scale": dict(scale=0.5),
    "style": dict(style=neon),
    "prompt": dict(prompt="b"),
    "weights": dict(blocks={"style": 0.3}),
    "blocks": dict(blocks="style+layout"),
    "clean": dict(removal="clean"),
    "clean, other scale": dict(removal="clean", content_scale=0.5),
    "clean, other style": dict(removal="clean", style=neon),
    "interval": dict(guidance_interval=(0.0, 0.5)),
    "other interval": dict(guidance_interval=(0.5, 1.0), style=neon, scale=0.5),
}
for name, arguments in calls.items():
    generate(**arguments)
    counts[name] = counter.frame_count

torch._dynamo.reset()
half_counter = CompileCounter()
pipe.to(torch.bfloat16).unet.compile(backend=half_counter)
generate()
counts["bfloat16"] = half_counter.frame_count
print(json.dumps(counts))
"""

WRAPPED_SCRIPT = (
    SCRIPT[: SCRIPT.index("eager = generate()")]
    + """
from instantstyle.core.styled_network import CALL

network, counts = pipe.unet, {}
cases = {
    "plain": {},
    "start": dict(start=0.5),
    "curve": dict(curve=[0.2, 1.0]),
    "mask": dict(mask=torch.eye(4)),
    "clean": dict(removal="clean"),
    "interval": dict(guidance_interval=(0.0, 0.5)),
}
for name, arguments in cases.items():
    torch._dynamo.reset()
    pipe.unet = network
    eager = generate(blocks="all", **arguments)
    counter = CompileCounter()
    pipe.unet = torch.compile(network, backend=counter)
    same = torch.allclose(generate(blocks="all", **arguments), eager, rtol=1e-4, atol=1e-5)
    counts[name] = [same, counter.frame_count]
    if name == "curve":
        generate(blocks="all", curve=[0.9, 0.5, 0.1])
        counts["another curve"] = [same, counter.frame_count]
counts["restored"] = [CALL not in vars(pipe.unet) and CALL not in vars(network), 0]
print(json.dumps(counts))
"""
)


@pytest.fixture(scope="module")
def counts(tokenizer_folder: Path, request: pytest.FixtureRequest) -> dict[str, int]:
    """Number of compiled graphs after each of the script's calls, in their order."""
    return run_script(SCRIPT, tokenizer_folder, request.config.rootpath)


def run_script(script: str, tokenizer_folder: Path, root: Path) -> dict:
    command = [sys.executable, "-c", script, str(tokenizer_folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_compiled_unet_generates_the_same_image(counts):
    assert counts["same"]
    assert counts["first"] == 1


@pytest.mark.slow
def test_the_unet_is_not_compiled_again_for_another_style_prompt_scale_or_weight(counts):
    changes = ["scale", "style", "prompt", "weights"]
    assert [change for change in changes if counts[change] != counts["first"]] == []


@pytest.mark.slow
def test_token_cleaning_is_compiled_once_for_all_steps_scales_and_styles(counts):
    assert counts["clean"] == counts["blocks"] + 1
    assert counts["clean, other style"] == counts["clean, other scale"] == counts["clean"]


@pytest.mark.slow
def test_the_batch_without_guidance_is_compiled_once_for_all_intervals(counts):
    assert counts["interval"] == counts["clean, other style"] + 1
    assert counts["other interval"] == counts["interval"]


@pytest.mark.slow
def test_a_unet_in_bfloat16_is_compiled_once(counts):
    """Keys and values are computed in float32 and cast before the first step."""
    assert counts["bfloat16"] == 1


@pytest.mark.slow
def test_other_blocks_are_compiled_again(counts):
    """Shows that the count can rise."""
    assert counts["blocks"] > counts["first"]


@pytest.mark.slow
def test_a_wrapped_compiled_unet_generates_as_the_plain_one(tokenizer_folder, request):
    """`pipe.unet = torch.compile(pipe.unet)` is the line of diffusers' guides."""
    found = run_script(WRAPPED_SCRIPT, tokenizer_folder, request.config.rootpath)
    assert [name for name, (same, _) in found.items() if not same] == []
    graphs = {name: count for name, (_, count) in found.items() if name != "restored"}
    assert graphs["plain"] == graphs["mask"] == graphs["clean"] == graphs["curve"] == graphs["another curve"] == 1
    assert graphs["start"] == graphs["interval"] == 2, "one graph with and one without the style, or the second part"
