"""Recorded attention: its rows sum to 1, its results add up to the layer's output, and images stay the same."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from instantstyle import StyleConditioning, StyleError
from instantstyle.core.attention_maps import Attention, AttentionMaps
from instantstyle.core.styled_network import StyledNetwork

TINY = {"num_inference_steps": 2, "height": 32, "width": 32, "seed": 1}
ALL = {**TINY, "blocks": "all"}


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_probabilities_sum_to_one_and_results_add_up_to_the_attention():
    query = _random(2, 3, 5, 4, seed=0)
    text = _random(2, 3, 7, 4, seed=1), _random(2, 3, 7, 4, seed=2)
    mask = torch.zeros(2, 3, 5, 7).masked_fill(_random(2, 3, 5, 7, seed=3) > 1, -1e4)
    styles = [(_random(2, 3, 2, 4, seed=n), _random(2, 3, 2, 4, seed=n + 1), torch.tensor(0.5 * n)) for n in (4, 6)]
    parts = [Attention.of(query, *text, mask=mask), *(Attention.of(query, *style) for style in styles)]
    for part in parts:
        torch.testing.assert_close(part.probabilities.sum(-1), torch.ones(2, 3, 5))
    total = sum((part.result for part in parts), torch.zeros(()))
    expected = F.scaled_dot_product_attention(query, *text, attn_mask=mask)
    for key, value, scale in styles:
        expected = expected + scale * F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(total, expected)


def test_the_recorded_parts_of_each_call_give_the_output_of_the_layer(styled, reference):
    outputs: list[tuple[Any, torch.Tensor]] = []
    attentions: dict[str, Any] = {
        name.removesuffix(".attn2"): module
        for name, module in styled.pipe.unet.named_modules()
        if name.endswith(".attn2")
    }
    hooks = [m.register_forward_hook(lambda m, _, out: outputs.append((m, out))) for m in attentions.values()]
    with styled.record_attention(keep_calls=True) as maps:
        styled("a", style=reference, scale=0.7, guidance_scale=3.0, **ALL)
    for hook in hooks:
        hook.remove()
    recorded = [call for call in maps.calls or [] if call.styles]
    assert len(recorded) == len(outputs) == 2 * len(attentions)
    for call, (module, output) in zip(recorded, outputs, strict=True):
        assert module is attentions[call.layer]
        total = call.text.result + call.styles[0].result
        torch.testing.assert_close(module.to_out[0](total.transpose(1, 2).flatten(2)), output, msg=call.layer)


def test_images_are_the_same_and_nothing_is_recorded_outside_of_the_block(styled, reference):
    plain = styled("a", style=reference, **TINY).images[0]
    with styled.record_attention() as maps:
        recorded = styled("a", style=reference, **TINY).images[0]
    assert recorded.tobytes() == plain.tobytes()
    before = maps.shares_by_layer()
    styled("a", style=reference, **TINY)
    assert maps.shares_by_layer() == before
    assert StyledNetwork.of(styled.pipe.unet).state.maps is None


def test_the_share_is_zero_where_the_mask_is_black(styled, reference):
    mask = Image.new("L", (32, 32), 0)
    ImageDraw.Draw(mask).rectangle((16, 0, 31, 31), fill=255)
    with styled.record_attention() as maps:
        styled("a", style=reference, mask=mask, **ALL)
    share = maps.share()[0]
    left, right = share[:, : share.shape[1] // 2 - 1], share[:, share.shape[1] // 2 + 1 :]
    assert left.abs().max() == 0
    assert right.min() > 0.01


def test_the_share_is_that_of_the_conditional_rows_and_grows_with_the_scale(styled, reference):
    shares = []
    for scale, guidance in ((0.5, 1.0), (0.5, 3.0), (2.0, 1.0)):
        with styled.record_attention() as maps:
            styled("a", style=reference, scale=scale, guidance_scale=guidance, **{**ALL, "num_inference_steps": 1})
        shares.append(maps.share())
    torch.testing.assert_close(shares[0], shares[1])
    # s·a / (t + s·a) has odds in proportion to s; from the second layer on, the text's result changes too.
    odds = [(share / (1 - share)).mean().item() for share in shares]
    assert odds[2] / odds[0] == pytest.approx(4, rel=0.2)


def test_maps_of_several_images_and_styles_are_kept_apart(styled, reference):
    ink = styled.style(reference)
    other = styled.style(Image.new("RGB", (32, 32), "red"))
    parts = [StyleConditioning(ink, "all", scale=1.0), StyleConditioning(other, "all", scale=0.2)]
    with styled.record_attention() as maps:
        styled(["a", "b"], style=parts, **TINY)
    first, second = maps.share(style=0), maps.share(style=1)
    assert len(first) == len(second) == 2
    assert first.mean() > second.mean() > 0
    tokens = maps.token_maps(style=1)
    torch.testing.assert_close(tokens.sum(1), torch.ones_like(tokens[:, 0]))


def test_styles_at_different_steps_keep_their_numbers(styled, reference):
    ink, other = styled.style(reference), styled.style(Image.new("RGB", (32, 32), "red"))

    def record(*parts: tuple[float, float]) -> AttentionMaps:
        steps = zip((ink, other), parts, strict=True)
        acting = [StyleConditioning(style, start=start, end=end) for style, (start, end) in steps]
        with styled.record_attention(keep_calls=True) as maps:
            styled("a", style=acting, **TINY)
        return maps

    apart, late, alone = record((0, 0.5), (0.5, 1)), record((0, 1), (0.5, 1)), record((0, 0.5), (1, 1))
    [layer] = {name.rpartition(".")[0] for name in apart.layers}
    assert layer == "up_blocks.0.attentions.1.transformer_blocks"
    for maps, acted in ((apart, {0: 1, 1: 1}), (late, {0: 2, 1: 1}), (alone, {0: 1})):
        assert all(each.acted == acted for each in maps.layers.values())
    # The first of two steps is the same in all three.
    torch.testing.assert_close(apart.share(style=0), alone.share(style=0))
    assert not torch.allclose(apart.share(style=0), apart.share(style=1), atol=1e-3)
    numbers = [list(call.numbers) for call in late.calls or [] if call.layer in late.layers]
    assert numbers == [[0]] * len(late.layers) + [[0, 1]] * len(late.layers)
    name = next(iter(late.layers))
    both = late.share_in(name, [0, 1])
    torch.testing.assert_close(both.mean().item(), late.shares_by_layer()[name])
    torch.testing.assert_close(both, late.share(name) + late.share(name, style=1) / 2)
    assert (alone.has_acted({name: 0}), alone.has_acted({name: 1}), alone.has_acted({"mid": 0})) == (
        True,
        False,
        False,
    )
    for wrong in (lambda: alone.share(style=1), lambda: alone.share_of({name: 1}), lambda: alone.share_in(name, [1])):
        with pytest.raises(StyleError, match=r"no style 1 in '\*'; counted from 0, 0 acted|acted in "):
            wrong()


def test_layers_are_chosen_by_pattern(styled, reference):
    with styled.record_attention() as maps:
        styled("a", style=reference, **ALL)
    deep = maps.share("mid_block.*")
    assert deep.shape[-2:] < maps.share("up_blocks.1.*").shape[-2:]
    torch.testing.assert_close(deep.mean().item(), _mean(maps, "mid_block"), rtol=1e-4, atol=0)
    with pytest.raises(StyleError, match=r"No layer fits 'up_block\.0\.\*'; a style acted in down_blocks\.1"):
        maps.share("up_block.0.*")
    with pytest.raises(StyleError, match="There is no style 1"):
        maps.share(style=1)


def _mean(maps: AttentionMaps, block: str) -> float:
    shares = [share for name, share in maps.shares_by_layer().items() if name.startswith(block)]
    return sum(shares) / len(shares)


def test_a_record_without_a_style_says_so(styled):
    with styled.record_attention() as maps:
        styled("a", **TINY)
    with pytest.raises(StyleError, match="No attention of a style was recorded"):
        maps.share()


def test_another_number_of_images_is_refused(styled, reference):
    with styled.record_attention():
        styled("a", style=reference, **TINY)
        with pytest.raises(StyleError, match="one batch of images at a time"):
            styled(["a", "b"], style=reference, **TINY)
