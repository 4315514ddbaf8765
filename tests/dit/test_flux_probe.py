"""The probe of a diffusion transformer in which a single known block carries the look."""

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.dit.families import FLUX
from instantstyle.evaluation.experiment import Experiment
from instantstyle.evaluation.probe import probe
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import PixelScorer
from instantstyle.unet.blocks import Block
from instantstyle.unet.probe_file import apply_probed_roles

from ..parity.flux import BLOCKS, make_adapter, make_flux

TINY: dict[str, Any] = {"num_inference_steps": 1, "height": 16, "width": 16}
CARRIER = Block.parse("transformer_blocks.1")

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture(scope="module")
def styled(tokenizer_folder, image_encoder) -> InstantStyle:
    """A model whose adapter has values in one block only, where it applies the same look to any reference."""
    pipe = make_flux(tokenizer_folder)
    parts = make_adapter(pipe.transformer)
    parts["ip_adapter"] = {
        name: tensor * (".to_v" not in name or name.startswith("1.")) for name, tensor in parts["ip_adapter"].items()
    }
    parts["image_proj"]["proj.weight"] *= 0
    architecture = replace(FLUX, blocks=FLUX.blocks[:BLOCKS])
    return InstantStyle(pipe, adapter=parts, image_encoder=image_encoder, architecture=architecture)


def test_the_block_that_carries_the_look_is_found_and_selected(styled, tmp_path, monkeypatch):
    grey = Image.new("RGB", (32, 32), "grey")
    images = [styled("a", style=grey, blocks="all", seed=1000 * number, **TINY).images[0] for number in range(2)]
    references = [ReferenceImage(f"{number}.png", image) for number, image in enumerate(images)]
    experiment = Experiment(styled, references, ["a"], [PixelScorer()], tmp_path, model="flux", arguments=TINY)
    result = probe(experiment)
    assert result.roles["style"].blocks == (CARRIER,)
    for block, effect in result.effects["look"].items():
        assert (effect.effect == pytest.approx(0, abs=1e-4)) == (block != CARRIER), block
    assert apply_probed_roles(styled.architecture, result.path).select("style") == {CARRIER: 1.0}
    found, named = (
        styled("a", style=grey, blocks=blocks, seed=1, output_type="pt", **TINY).images
        for blocks in (str(result.path), str(CARRIER))
    )
    assert found.equal(named)
    # Finished cells need no network.
    monkeypatch.setattr(styled.pipe, "transformer", None)
    assert probe(experiment).roles == result.roles
