"""Two adapters at once equal diffusers with the same two adapters loaded."""

import pytest
import torch
from torch.testing import assert_close

from instantstyle import InstantStyle, StyleConditioning

from ..conftest import layer_weights, make_pipe, plus_projection
from .diffusers_path import SCALES, load_adapter, seeded_generators


@pytest.fixture(scope="module")
def plus(layers):
    """A Plus adapter for the small UNet, with other keys and values than the base adapter."""
    weights = {name: -tensor.flip(0) for name, tensor in layer_weights(layers).items()}
    return {"image_proj": plus_projection(), "ip_adapter": weights}


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_plus_everywhere_and_a_base_style_equal_diffusers_two_adapters(
    tokenizer_folder, pipe, state, plus, image_encoder, reference, short, guidance
):
    other = reference.rotate(90, expand=True)
    arguments = {**short, "guidance_scale": guidance}
    theirs = load_adapter(make_pipe(tokenizer_folder), [plus, state], image_encoder, [0.3, SCALES["style"]])
    expected = theirs("a", ip_adapter_image=[reference, other], generator=seeded_generators(3), **arguments).images
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    name = styled.add_adapter(plus, name="plus")
    everywhere = StyleConditioning(styled.style(reference, adapter=name), "all", 0.3)
    style = StyleConditioning(styled.style(other))
    latents, swapped, one, another = (
        styled("a", style=styles, seed=3, **arguments).images
        for styles in ([everywhere, style], [style, everywhere], [everywhere], [style])
    )
    assert_close(latents, expected, rtol=1e-4, atol=1e-5)
    assert_close(swapped, expected, rtol=1e-4, atol=1e-5)
    assert not any(torch.allclose(alone, expected, rtol=1e-2) for alone in (one, another))
