"""Families of diffusion transformers, as tables with sources."""

from ..unet.architectures import Architecture
from ..unet.blocks import Block

FLUX = Architecture(
    name="flux",
    title="FLUX.1",
    # Width of the image tokens, that of T5's hidden states.
    cross_dim=4096,
    # The blocks that XLabs' adapters reach (github.com/XLabs-AI/x-flux): those with text and image as two streams.
    # No roles of theirs are published. SplitFlux (arXiv 2511.15258) finds style in single blocks, where they have no
    # layers, and little of it here.
    blocks=tuple(Block("transformer_blocks", index) for index in range(19)),
    experimental=True,
    # huggingface.co/black-forest-labs/FLUX.1-dev, transformer/config.json: 24 heads of 128. Chroma has the same.
    depths={"transformer_blocks": (1, 3072)},
    # huggingface.co/XLabs-AI/flux-ip-adapter, flux-ip-adapter-v2: CLIP ViT-L's embedding.
    adapter_inputs=frozenset({("base", 768, None)}),
)

TRANSFORMERS = (FLUX,)
"""The known families of diffusion transformers."""
