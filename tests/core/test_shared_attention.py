"""Shared self-attention: the formulas of StyleAligned and visual style prompting, and what a call does with them."""

from math import log
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor
from torch.testing import assert_close

from instantstyle import BlockError, InstantStyle, SharedAttention, StyleConditioning, StyleError
from instantstyle.core.attention.interface import LayerInputs
from instantstyle.core.attention.shared import SharedKeyValues, SharedSelfAttention, share_group_norms
from instantstyle.core.attention.weight import Weight
from instantstyle.core.row_layout import GUIDED, RowLayout

from ..conftest import make_pipe
from .test_attention_processor import denoising_state

ROWS = 6  # three images, guided
PROMPTS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def model(tokenizer_folder, state, image_encoder) -> InstantStyle:
    """One model for all tests: a call changes nothing in it."""
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    logits = query @ key.mT / query.shape[-1] ** 0.5
    return (logits if bias is None else logits + bias).softmax(-1) @ value


def run(settings: SharedKeyValues, layout: RowLayout = GUIDED, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return query, key and value, stacked, and the result of shared attention."""
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(3, ROWS, 2, 9, 8, generator=generator)
    state = denoising_state(layout, latents=(3, 3))
    shared = SharedSelfAttention(settings)
    shared.prepare_step(state)
    attn: Any = torch.nn.Identity()
    query, key, value = qkv
    return qkv, shared(attend, query, key, value, LayerInputs(attn, torch.zeros(ROWS, 9, 16), state))


def weight(scale: float = 1.0, **settings: Any) -> Weight:
    return Weight(torch.tensor(scale), **settings)


def align(x: Tensor, to: Tensor) -> Tensor:
    deviations = ((x.var(-2) + 1e-5).sqrt(), (to.var(-2) + 1e-5).sqrt())
    return ((x.mT - x.mean(-2)[..., None]) / deviations[0][..., None] * deviations[1][..., None]).mT + to.mean(-2)[
        ..., None, :
    ]


@pytest.mark.parametrize("shift", [0.0, log(2.0)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_each_image_attends_to_itself_and_to_the_first_of_its_part(scale: float, shift: float):
    (query, key, value), found = run(SharedKeyValues(weight(), key_scale=scale, key_shift=shift))
    for row in range(ROWS):
        first = row // 3 * 3
        own, other = align(key[row], key[first]), key[first] * (1 if row == first else scale)
        # A shift of log 2 is the first image's keys twice.
        times = 2 if shift else 1
        keys = torch.cat([own, *[other] * times], dim=-2)
        values = torch.cat([value[row], *[value[first]] * times], dim=-2)
        assert_close(found[row], attend(align(query[row], query[first]), keys, values), msg=str(row))


@pytest.mark.parametrize("layout", [GUIDED, ("conditional", "unconditional", "unconditional")])
def test_swapped_keys_and_values_are_those_of_the_first_image(layout: RowLayout):
    (query, key, value), found = run(SharedKeyValues(weight(), align=False, swap=True), layout)
    images = ROWS // len(layout)
    for row in range(ROWS):
        first = row // images * images
        assert_close(found[row], attend(query[row], key[first], value[first]), msg=str(row))


def test_negative_queries_are_swapped_in_the_unconditional_part_only():
    (query, key, value), found = run(SharedKeyValues(weight(), align=False, swap=True, negative_queries=True))
    for row in range(ROWS):
        first = row // 3 * 3
        expected = (
            attend(query[first], key[row], value[row]) if row < 3 else attend(query[row], key[first], value[first])
        )
        assert_close(found[row], expected, msg=str(row))


def test_a_weight_interpolates_and_a_mask_selects_pixels():
    qkv, full = run(SharedKeyValues(weight()))
    own = attend(*qkv)
    assert_close(run(SharedKeyValues(weight(0.25)))[1], own + 0.25 * (full - own))
    mask = torch.zeros(3, 3)
    mask[0] = 1.0
    masked = run(SharedKeyValues(weight(mask=mask)))[1]
    assert_close(masked[..., :3, :], full[..., :3, :])
    assert masked[..., 3:, :].equal(own[..., 3:, :])
    assert run(SharedKeyValues(weight(curve=lambda progress: 0.0)))[1].equal(own)


def test_group_norms_take_the_statistics_of_both_images():
    norm = torch.nn.GroupNorm(2, 4)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(4, 4, 5, 3)
    state = denoising_state(GUIDED)
    before = norm(x)
    mask = torch.tensor([[1.0, 0.0, 0.5]]).expand(5, 3)
    with torch.no_grad(), share_group_norms({norm: weight()}, state):
        found = norm(x)
    with torch.no_grad(), share_group_norms({norm: weight(0.5, mask=mask)}, state):
        weighed = norm(x)
    assert_close(weighed, torch.lerp(before, found, 0.5 * mask.expand_as(before)))
    assert weighed[..., 1].equal(before[..., 1])
    for row in range(4):
        both = torch.cat([x[row], x[row // 2 * 2]], dim=-1)[None].unflatten(1, (2, 2))
        mean = both.mean((2, 3, 4), keepdim=True)
        deviation = (both.var((2, 3, 4), unbiased=False, keepdim=True) + norm.eps).sqrt()
        normed = ((x[row][None].unflatten(1, (2, 2)) - mean) / deviation).flatten(1, 2)[0]
        assert_close(found[row], normed * norm.weight[:, None, None] + norm.bias[:, None, None])
    assert norm(x).equal(before), "the hooks are removed"


def generate(model: InstantStyle, short: dict[str, Any], prompts: Any = PROMPTS, **arguments: Any) -> Tensor:
    return model(prompts, **{"seed": 1, "guidance_scale": 5.0, **short, **arguments}).images


def test_the_first_image_is_as_without_and_the_others_are_not(model, short):
    plain, shared = generate(model, short), generate(model, short, style=SharedAttention())
    assert_close(shared[0], plain[0], rtol=1e-4, atol=1e-4)
    assert all((shared[place] - plain[place]).abs().max() > 0.01 for place in (1, 2))
    assert generate(model, short).equal(plain), "nothing stays behind"


def test_equal_prompts_and_noise_give_equal_images(model, short):
    generators = [torch.Generator().manual_seed(3) for _ in range(3)]
    images = generate(model, short, ["a"] * 3, seed=None, generator=generators, style=SharedAttention())
    assert_close(images[1:], images[:1].expand(2, -1, -1, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{"scale": 0.0}, {"start": 0.5, "end": 0.5}, {"curve": [0.0]}])
def test_without_weight_images_are_bit_equal_to_plain_ones(model, short, settings: dict[str, Any]):
    assert generate(model, short, style=SharedAttention(**settings)).equal(generate(model, short))


def test_it_acts_beside_styles(model, short, reference):
    ink = StyleConditioning(model.style(reference), "all")
    styled, both = (generate(model, short, style=each) for each in (ink, [ink, SharedAttention()]))
    assert_close(both[0], styled[0], rtol=1e-4, atol=1e-4)
    assert (both[1] - styled[1]).abs().max() > 0.01


def test_a_pipeline_without_an_adapter_shares_attention(model, short):
    bare = InstantStyle(model.pipe)
    assert generate(bare, short, style=SharedAttention()).equal(generate(model, short, style=SharedAttention()))


def test_without_weight_anywhere_the_images_are_bit_equal_to_plain_ones(model, short):
    plain = generate(model, short)
    settings: dict[str, Any]
    for settings in ({"scale": 0.0}, {"mask": torch.zeros(16, 16)}, {"curve": [0.0]}, {"blocks": {"style": 0.0}}):
        assert generate(model, short, style=SharedAttention(**settings)).equal(plain), settings
    nearly = generate(model, short, style=SharedAttention(scale=1e-6))
    assert_close(nearly, plain, rtol=1e-3, atol=1e-3)


def test_a_mode_with_another_unconditional_half_is_refused(model, short, tmp_path):
    for style in (SharedAttention(blocks="precise-style"), SharedAttention(blocks=["style", "precise-style"])):
        with pytest.raises(BlockError, match="acts in the unconditional half in blocks of its own, and a SharedAtt"):
            generate(model, short, style=style)


def test_blocks_choose_layers_and_their_norms(model, short):
    some = generate(model, short, style=SharedAttention(blocks="style"))
    every = generate(model, short, style=SharedAttention())
    assert not some.equal(every)
    assert not some.equal(generate(model, short, style=SharedAttention(blocks="style", norms=False)))
    assert not some.equal(generate(model, short))


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: SharedAttention(scale=float("nan")), "scale is nan"),
        (lambda: SharedAttention(start=0.8, end=0.2), "start is 0.8 and end 0.2"),
        (lambda: SharedAttention(negative_queries=True), "negative_queries belongs to swap"),
        (lambda: SharedAttention(swap=True, key_shift=1.0), "key_scale and key_shift weigh"),
    ],
)
def test_wrong_settings_are_refused(create: Any, message: str):
    with pytest.raises(StyleError, match=message):
        create()


def test_one_image_and_two_ways_are_refused(model, short):
    with pytest.raises(StyleError, match=r"give several prompts, prompt=\[…, …\], num_images_per_prompt=2, or"):
        generate(model, short, "a", style=SharedAttention())
    assert len(generate(model, short, "a", style=SharedAttention(), num_images_per_prompt=2)) == 2
    with pytest.raises(StyleError, match="give one SharedAttention"):
        generate(model, short, style=[SharedAttention(), SharedAttention(scale=0.5)])


def test_a_compiled_network_shares_no_norms(tokenizer_folder, short):
    pipe: StableDiffusionXLPipeline = make_pipe(tokenizer_folder)
    model = InstantStyle(pipe)
    block = pipe.unet.down_blocks[0]
    block._compiled_call_impl = block._call_impl  # what `block.compile()` sets
    with pytest.raises(StyleError, match="norms of a compiled network cannot be shared; give norms=False"):
        generate(model, short, style=SharedAttention())
