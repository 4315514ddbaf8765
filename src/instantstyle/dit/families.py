"""Families of diffusion transformers, as tables with sources."""

from ..unet.architectures import Architecture
from ..unet.blocks import Block
from .layers import ONE_STREAM, TWO_STREAMS

# huggingface.co/black-forest-labs/FLUX.1-dev, transformer/config.json: 24 heads of 128. Chroma has the same.
_HEAD_WIDTH = 128
_LAYERS = (1, 24 * _HEAD_WIDTH)

# Width of the image tokens, that of T5's hidden states.
_CROSS_DIM = 4096

_TWO_STREAMS = tuple(Block(TWO_STREAMS, index) for index in range(19))
_ONE_STREAM = tuple(Block(ONE_STREAM, index) for index in range(38))

FLUX = Architecture(
    name="flux",
    title="FLUX.1",
    cross_dim=_CROSS_DIM,
    # The blocks that XLabs' adapters reach (github.com/XLabs-AI/x-flux): those with text and image as two streams.
    # No roles of theirs are published. SplitFlux (arXiv 2511.15258) finds style in single blocks, where they have no
    # layers, and little of it here.
    blocks=_TWO_STREAMS,
    experimental=True,
    depths={TWO_STREAMS: _LAYERS},
    # huggingface.co/XLabs-AI/flux-ip-adapter, flux-ip-adapter-v2: CLIP ViT-L's embedding.
    adapter_inputs=frozenset({("base", 768, None)}),
    head_width=_HEAD_WIDTH,
)

_SPLITFLUX = "SplitFlux (arXiv 2511.15258), by replacing prompts in blocks; its blocks 20–57 are those with one stream"

FLUX_INSTANTX = Architecture(
    name="flux-instantx",
    title="FLUX.1 (InstantX)",
    cross_dim=_CROSS_DIM,
    # huggingface.co/InstantX/FLUX.1-dev-IP-Adapter reaches all blocks.
    blocks=(*_TWO_STREAMS, *_ONE_STREAM),
    roles={"style": _ONE_STREAM[10:], "content": _ONE_STREAM[:10]},
    sources={"style": f"{_SPLITFLUX}, 30–57 style", "content": f"{_SPLITFLUX}, 20–29 content"},
    experimental=True,
    depths={TWO_STREAMS: _LAYERS, ONE_STREAM: _LAYERS},
    # SigLIP SO400M's pooled embedding.
    adapter_inputs=frozenset({("mlp", 1152, None)}),
    image_size=384,
    head_width=_HEAD_WIDTH,
)

SD35 = Architecture(
    name="sd35-large",
    title="SD3.5 Large",
    # huggingface.co/stabilityai/stable-diffusion-3.5-large, transformer/config.json: 38 heads of 64 in 38 blocks.
    cross_dim=38 * 64,
    blocks=tuple(Block(TWO_STREAMS, index) for index in range(38)),
    experimental=True,
    depths={TWO_STREAMS: (1, 38 * 64)},
    # huggingface.co/InstantX/SD3.5-Large-IP-Adapter: SigLIP SO400M's hidden states.
    adapter_inputs=frozenset({("timed", 1152, 1280)}),
    image_size=384,
    head_width=64,
    is_timed=True,
)

TRANSFORMERS = (FLUX, FLUX_INSTANTX, SD35)
"""The known families of diffusion transformers, and of adapters for them that reach other blocks."""
