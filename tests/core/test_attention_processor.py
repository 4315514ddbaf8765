"""The attention processor: text and styles are added, and keys, values and masks are computed once."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor
from torch.testing import assert_close

from instantstyle.core.attention.decoupled import DecoupledAttention, StyleKeyValues, add_attention, fuse_by_adain
from instantstyle.core.attention.interface import LayerInputs
from instantstyle.core.attention.weight import Weight, resize_mask
from instantstyle.core.attention_processor import StyledAttnProcessor
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.core.row_layout import GUIDED, UNGUIDED, RowLayout
from instantstyle.errors import StyleError


def key_values(scale: float = 1.0, width: int = 16, styles: int = 1, **settings: Any) -> StyleKeyValues:
    """Return random keys and values of one style, or of one style for each prompt."""
    shape = 2, styles, 4, width
    weight = {name: settings.pop(name) for name in ("mask", "curve", "frames") if name in settings}
    return StyleKeyValues(torch.randn(shape), torch.randn(shape), Weight(torch.tensor(scale), **weight), **settings)


def denoising_state(
    layout: RowLayout = UNGUIDED, latents: tuple[int, int] = (8, 8), step: int = 0, steps: int = 1
) -> DenoisingState:
    """Return the state at a step of a pipeline without a callback, for layers of any number of rows."""
    state = DenoisingState()
    scheduler = SimpleNamespace(timesteps=torch.arange(steps))
    state.begin((torch.zeros(1, 4, *latents), step), {}, None, scheduler, layout)
    state.rows, state.keeps_text = None, True
    return state


def prepared(styles: Sequence[StyleKeyValues], state: DenoisingState) -> StyledAttnProcessor:
    """Return a processor at the state's step."""
    processor = StyledAttnProcessor([style.build() for style in styles], state)
    processor.prepare_step()
    return processor


@pytest.fixture
def attn() -> Any:
    return Attention(16, cross_attention_dim=12, heads=2, dim_head=8).eval()


def scale_in_layer(cache: DecoupledAttention, attn: Any, pixels: int, state: DenoisingState) -> Tensor:
    """Return the scale of a style in a layer of so many pixels."""
    cache.prepare_step(state)
    with torch.no_grad():
        found = cache.key_value_weight(LayerInputs(attn, torch.randn(1, pixels, 16), state))
    assert found is not None
    return found[2]


def attention_by_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value


@torch.no_grad()
@pytest.mark.parametrize("fuse", [add_attention, fuse_by_adain])
def test_the_layer_joins_the_attention_of_text_and_styles(attn, fuse: Any):
    """Two styles with scales 0.5 and 2, computed from the definition of attention."""
    name: Any = "add" if fuse is add_attention else "adain"
    styles = [key_values(scale=scale, fuse=name) for scale in (0.5, 1.0)]
    pixels, text = torch.randn(1, 9, 16), torch.randn(1, 5, 12)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (2, 8)).transpose(1, 2)

    query = heads(attn.to_q(pixels))
    expected = attention_by_definition(query, heads(attn.to_k(text)), heads(attn.to_v(text)))
    for style in styles:
        attended = attention_by_definition(query, heads(style.key[1]), heads(style.value[1]))
        expected = fuse(expected, attended, style.weight.scale)
    output = prepared(styles, denoising_state())(attn, pixels, text)
    assert_close(output, attn.to_out[0](expected.transpose(1, 2).flatten(2)))


def test_style_is_added_to_text_by_its_scale():
    text, style = torch.randn(2, 2, 2, 9, 8)
    assert_close(add_attention(text, style, torch.tensor(0.5)), text + 0.5 * style)


def test_adain_gives_the_texts_result_the_styles_mean_and_deviation():
    text, style = torch.randn(2, 2, 2, 64, 8) * torch.rand(2, 2, 2, 1, 8) + torch.randn(2, 2, 2, 1, 8)
    found = fuse_by_adain(text, style, torch.tensor(1.0))
    assert_close(found.mean(-2), style.mean(-2), rtol=1e-5, atol=1e-5)
    assert_close(found.std(-2), style.std(-2), rtol=1e-5, atol=1e-5)
    correlation = ((text - text.mean(-2, True)) * (found - found.mean(-2, True))).sum(-2)
    norms = (text.std(-2) * found.std(-2)) * (text.shape[-2] - 1)
    assert_close(correlation / norms, torch.ones(2, 2, 8))


def test_adain_interpolates_by_its_weight():
    text, style = torch.randn(2, 2, 2, 9, 8)
    assert fuse_by_adain(text, style, torch.tensor(0.0)).equal(text)
    half = (text + fuse_by_adain(text, style, torch.tensor(1.0))) / 2
    assert_close(fuse_by_adain(text, style, torch.tensor(0.5)), half)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0},
        {"qk_norm": "layer_norm"},
    ],
    ids=["plain", "group norm and residual", "query and key norm"],
)
@pytest.mark.parametrize("shape", [(2, 9, 16), (2, 16, 3, 3)], ids=["tokens", "image"])
def test_at_scale_zero_the_processor_equals_attn_processor_2_0(options: dict[str, Any], shape: tuple):
    attn: Any = Attention(16, cross_attention_dim=12, heads=2, dim_head=8, **options).eval()
    pixels, text = torch.randn(shape), torch.randn(2, 5, 12)
    mask = torch.zeros(2, 1, 5)
    mask[..., 3:] = -10_000
    processor = prepared([key_values(scale=0.0)], denoising_state(GUIDED))
    with torch.no_grad():
        expected = AttnProcessor2_0()(attn, pixels, text, attention_mask=mask)
        assert_close(processor(attn, pixels, text, attention_mask=mask), expected)


def test_with_guidance_the_first_half_of_a_batch_is_unconditional():
    style = key_values()
    key, _ = style.for_batch(4, GUIDED)
    assert_close(key, style.key.repeat_interleave(2, 1).flatten(0, 1))


def test_without_guidance_the_whole_batch_is_conditional():
    style = key_values()
    _, value = style.for_batch(3, UNGUIDED)
    assert_close(value, style.value[1].expand(3, -1, -1))


def test_each_prompt_has_its_own_style_for_all_of_its_images():
    style = key_values(styles=2)
    key, _ = style.for_batch(8, GUIDED)
    ink, neon = style.key[1]
    assert_close(key[4:], torch.stack([ink, ink, neon, neon]))


def test_an_odd_batch_with_guidance_is_rejected():
    with pytest.raises(
        StyleError, match=r"batch of 3 rows does not split into 2 parts \(unconditional, conditional\)"
    ):
        key_values().for_batch(3, GUIDED)


def test_a_batch_that_does_not_split_into_the_styles_is_rejected():
    with pytest.raises(StyleError, match=r"with 2 styles each; give one style for each prompt"):
        key_values(styles=2).for_batch(3, UNGUIDED)


def test_the_scale_is_not_rounded_to_half_precision():
    assert key_values(scale=0.8).to(torch.zeros(1, dtype=torch.bfloat16)).weight.scale == torch.tensor(0.8)


def test_the_processor_owns_no_weights():
    assert not isinstance(prepared([key_values()], denoising_state()), torch.nn.Module)


@pytest.mark.parametrize("latents", [(114, 143), (128, 128), (7, 9)], ids=["912x1144", "square", "tiny"])
@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_a_mask_is_resized_to_every_level_of_the_latents(attn, latents: tuple[int, int], halvings: int):
    height, width = latents
    for _ in range(halvings):
        height, width = -(-height // 2), -(-width // 2)
    upper_half = torch.zeros(912, 1144)
    upper_half[:456] = 1.0
    cache = DecoupledAttention(key_values(mask=upper_half))
    scale = scale_in_layer(cache, attn, height * width, denoising_state(latents=latents))
    rows = scale.unflatten(0, (height, width))[..., 0]
    assert_close(rows[: height // 2], torch.ones(height // 2, width))
    assert_close(rows[-(height // 2) :], torch.zeros(height // 2, width))


def test_a_mask_for_a_layer_that_is_no_level_of_the_latents_is_rejected(attn):
    cache = DecoupledAttention(key_values(mask=torch.ones(4, 4)))
    with pytest.raises(StyleError, match=r"cannot be resized to 5 pixels: latents of \(8, 8\) have no such"):
        scale_in_layer(cache, attn, 5, denoising_state(latents=(8, 8)))


def test_a_mask_is_resized_once_for_each_size_of_the_latents(attn, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(
        "instantstyle.core.attention.weight.resize_mask",
        lambda *arguments: calls.append(arguments) or resize_mask(*arguments),
    )
    cache, state = DecoupledAttention(key_values(mask=torch.eye(4))), denoising_state(latents=(4, 4))
    first, second = (scale_in_layer(cache, attn, 16, state) for _ in range(2))
    assert len(calls) == 1
    assert first.equal(second)
    state.begin((torch.zeros(1, 4, 2, 8), 0), {}, None)
    assert not scale_in_layer(cache, attn, 16, state).equal(first)
    assert len(calls) == 2


class FailingKeyValues(StyleKeyValues):
    """Keys and values that must not be used."""

    def for_batch(self, batch: int, layout: RowLayout, shift: object = None) -> tuple[Tensor, Tensor]:
        raise AssertionError("keys and values were computed for a style without effect")


@torch.no_grad()
@pytest.mark.parametrize(
    ("inactive", "active", "settings"),
    [
        (
            denoising_state(step=0, steps=2),
            denoising_state(step=1, steps=2),
            {"curve": lambda progress: float(progress >= 0.5)},
        ),
        (denoising_state(), denoising_state(GUIDED), {"unconditional": True}),
    ],
    ids=["before its first step", "unconditional without guidance"],
)
def test_a_style_without_effect_computes_nothing(
    attn, inactive: DenoisingState, active: DenoisingState, settings: dict[str, Any]
):
    usable = key_values(**settings)
    failing = FailingKeyValues(**vars(usable))
    text, pixels = torch.randn(2, 5, 12), torch.randn(2, 9, 16)
    plain = AttnProcessor2_0()(attn, pixels, text)
    assert_close(prepared([failing], inactive)(attn, pixels, text), plain)
    with pytest.raises(AssertionError, match="style without effect"):
        prepared([failing], active)(attn, pixels, text)


@pytest.fixture
def uses(attn: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each use of the weight of `attn.to_k`: with a hook on the layer nothing would be cached."""
    found: list[int] = []
    linear, weight = F.linear, attn.to_k.weight

    def recording(x: Tensor, by: Tensor, bias: Tensor | None = None) -> Tensor:
        found.extend([1] * (by is weight))
        return linear(x, by, bias)

    monkeypatch.setattr(F, "linear", recording)
    return found


@torch.no_grad()
def test_keys_and_values_of_the_text_are_computed_once_for_the_same_text(attn, uses):
    processor = prepared([key_values()], denoising_state(GUIDED))
    text, steps = torch.randn(2, 5, 12), torch.randn(3, 2, 9, 16)
    cached = [processor(attn, pixels, text) for pixels in steps]
    styles = [injection.style for injection in processor.injections if isinstance(injection, DecoupledAttention)]
    fresh = [prepared(styles, processor.state)(attn, pixels, text) for pixels in steps]
    assert len(uses) == 1 + 3
    assert all(one.equal(other) for one, other in zip(cached, fresh, strict=True))


@torch.no_grad()
def test_keys_and_values_are_computed_again_for_another_and_for_a_changed_text(attn, uses):
    processor = prepared([key_values()], denoising_state())
    text, pixels = torch.randn(1, 5, 12), torch.randn(1, 9, 16)
    first = processor(attn, pixels, text)
    assert processor(attn, pixels, text.clone()).equal(first)
    text.mul_(2)
    assert not processor(attn, pixels, text).equal(first)
    assert len(uses) == 3


def test_the_text_is_not_cached_with_gradients_or_for_inference_tensors(attn, uses):
    text, pixels = torch.randn(1, 5, 12), torch.randn(1, 9, 16)
    processor = prepared([key_values()], denoising_state())
    for _ in range(2):
        processor(attn, pixels, text).sum().backward()
    assert len(uses) == 2
    with torch.inference_mode():
        inference_text = torch.randn(1, 5, 12)
        for _ in range(2):
            processor(attn, pixels, inference_text)
    assert len(uses) == 4


class CountingLinear(torch.nn.Linear):
    """A subclass of `nn.Linear` that counts its calls."""

    calls = 0

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(input)


@torch.no_grad()
def test_the_text_is_not_cached_where_the_projection_is_more_than_linear(attn):
    attn.to_k = CountingLinear(12, 16, bias=False)
    processor = prepared([key_values()], denoising_state())
    text = torch.randn(1, 5, 12)
    for _ in range(3):
        processor(attn, torch.randn(1, 9, 16), text)
    assert attn.to_k.calls == 3


@torch.no_grad()
def test_a_styles_keys_and_values_are_cached_for_batch_guidance_and_dtype(attn):
    style = DecoupledAttention(key_values())
    pixels = torch.randn(2, 9, 16)
    first = style.key_value(attn, pixels, GUIDED)
    assert style.key_value(attn, pixels + 1, GUIDED) is first
    assert style.key_value(attn, pixels, UNGUIDED) is not first
    assert len(style.key_value(attn, pixels.repeat(2, 1, 1), GUIDED)[0]) == 4
    assert style.key_value(attn, pixels.double(), UNGUIDED)[0].dtype == torch.float64


@torch.no_grad()
def test_for_one_image_a_call_the_style_is_not_copied(attn):
    style = DecoupledAttention(key_values())
    key, value = style.key_value(attn, torch.randn(2, 9, 16), GUIDED)
    own = style.style.key, style.style.value
    assert [key.data_ptr(), value.data_ptr()] == [tensor.data_ptr() for tensor in own]


@torch.no_grad()
def test_a_styled_layer_outside_of_a_call_of_its_unet_is_refused(attn):
    """Rows and step would be those of the call before."""
    state = denoising_state()
    processor = prepared([key_values()], state)
    state.end()
    with pytest.raises(StyleError, match="runs outside of a call of the network that is styled"):
        processor(attn, torch.randn(1, 9, 16), torch.randn(1, 5, 12))


@pytest.mark.parametrize(
    ("layout", "rows"),
    [
        (("unconditional", "conditional", "conditional"), [0, 0, 1, 1, 1, 1]),
        (("conditional", "unconditional", "unconditional"), [1, 1, 0, 0, 0, 0]),
        (("conditional", "conditional"), [1, 1, 1, 1]),
    ],
    ids=["perturbed-attention guidance", "InstructPix2Pix", "perturbed-attention guidance only"],
)
def test_each_part_of_a_batch_has_its_own_row(layout: RowLayout, rows: list[int]):
    style = key_values()
    key, value = style.for_batch(len(rows), layout)
    assert key.equal(torch.stack([style.key[row, 0] for row in rows]))
    assert value.equal(torch.stack([style.value[row, 0] for row in rows]))
