"""The product that a LoRA adds to a layer, and to the keys and values of the text under a mask, in closed form."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from instantstyle.core.attention.interface import LayerInputs
from instantstyle.core.attention.weight import Weight
from instantstyle.core.low_rank import LowRankHook, MaskedTextAttention, MaskedTextProjections
from instantstyle.core.row_layout import GUIDED
from instantstyle.loaders.lora_layers import LoraLayer

from .test_attention_processor import denoising_state

RANK = 3


def _layer(rows: int, columns: int, scale: float = 1.0) -> LoraLayer:
    generator = torch.Generator().manual_seed(rows)
    down, up = (torch.randn(*shape, generator=generator) for shape in ((RANK, columns), (rows, RANK)))
    return LoraLayer(down, up, scale)


def test_a_hook_weighs_rows_and_pixels_of_linear_layers_and_convolutions():
    state, mask = denoising_state(GUIDED, latents=(2, 3)), torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]])
    state.rows = 2
    layer = _layer(5, 4, scale=1.5)
    weight = Weight(torch.tensor(2.0), mask, positive_only=True)
    x = torch.randn(2, 6, 4)
    factors = torch.stack([torch.zeros(6), mask.flatten()])[..., None]
    expected = 2.0 * 1.5 * factors * (x @ layer.down.mT @ layer.up.mT)
    linear: nn.Module = nn.Linear(4, 5)
    conv: nn.Module = nn.Conv2d(4, 5, 1)
    for module, given in ((linear, x), (conv, x.mT.reshape(2, 4, 2, 3))):
        found = LowRankHook(layer, weight, state)(module, (given,), module(given))
        change = found - module(given)
        assert_close(change if change.ndim == 3 else change.flatten(2).mT, expected, msg=type(module).__name__)


def test_a_mask_interpolates_between_the_texts_of_base_and_lora():
    state = denoising_state(GUIDED, latents=(2, 2))
    state.rows = 2
    mask = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    query, key, value = torch.randn(2, 2, 4, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
    text, (to_key, to_value) = torch.randn(2, 5, 8), (_layer(6, 8, 0.5), _layer(6, 8, 0.5))
    attn: Any = SimpleNamespace(heads=2, norm_cross=None)

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value

    def change(layer: LoraLayer) -> Tensor:
        product = 0.7 * layer.scale * text @ layer.down.mT @ layer.up.mT
        return product.unflatten(-1, (2, 3)).transpose(1, 2)

    acting = MaskedTextAttention(MaskedTextProjections(to_key, to_value, Weight(torch.tensor(0.7), mask)))
    acting.prepare_step(state)
    found = acting(attend, query, key, value, LayerInputs(attn, torch.zeros(2, 4, 6), state, text))
    base, full = attend(query, key, value), attend(query, key + change(to_key), value + change(to_value))
    assert_close(found, base + mask.flatten()[:, None] * (full - base))
