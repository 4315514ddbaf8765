"""CleanStyle's method: singular values of keys and values are shrunk layer by layer, over the steps."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.core.cleanstyle import SingularTail, suppression, unconditional_keys
from instantstyle.core.row_layout import GUIDED

from ..helpers import seeded_generator
from .test_attention_processor import denoising_state

U = torch.linalg.qr(torch.randn(4, 4, generator=seeded_generator(0), dtype=torch.float64)).Q
V = torch.linalg.qr(torch.randn(8, 4, generator=seeded_generator(1), dtype=torch.float64)).Q.T
SIGMA = torch.tensor([50.0, 30.0, 5.0, 0.5], dtype=torch.float64)
KEYS = U @ torch.diag(SIGMA) @ V
PLAIN = torch.randn(4, 8, generator=seeded_generator(2), dtype=torch.float64)


def with_sigma(sigma: torch.Tensor) -> torch.Tensor:
    return U @ torch.diag(sigma) @ V


def test_the_tail_is_shrunk_and_the_head_is_not():
    expected = SIGMA * torch.exp(-0.01 * SIGMA)
    expected[0] = SIGMA[0]
    shrunk = KEYS + SingularTail.of(KEYS).shrunk_by(torch.tensor(0.01, dtype=torch.float64))
    assert_close(shrunk, with_sigma(expected))


def test_at_exponent_zero_nothing_is_added():
    assert SingularTail.of(KEYS).shrunk_by(torch.tensor(0.0, dtype=torch.float64)).eq(0).all()


def test_the_unconditional_keys_have_every_component_shrunk():
    expected = with_sigma(SIGMA * torch.exp(-0.2 * SIGMA))
    assert_close(unconditional_keys(KEYS, PLAIN, 1.0), expected, rtol=1e-5, atol=1e-5)
    assert_close(unconditional_keys(KEYS, PLAIN, 0.5), 0.5 * (PLAIN + expected), rtol=1e-5, atol=1e-5)
    assert unconditional_keys(KEYS, PLAIN, 0.0) is PLAIN


def test_the_schedule_is_that_of_the_authors_code():
    """α_t = α(1 − s_t), s_t = 1/(1 + e^(−20(t − 0.3))), with steps counted from 1."""
    for step in range(1, 31):
        t = torch.tensor(step / 30, dtype=torch.float64)
        expected = 1 - 1 / (1 + torch.exp(-20 * (t - 0.3)))
        assert suppression(step / 30) == pytest.approx(expected.item())
    assert all(one > two for one, two in pairwise(suppression(step / 30) for step in range(1, 31)))


def test_the_share_of_the_steps_counts_the_current_one():
    state = denoising_state(step=2, steps=8)
    assert (state.progress, state.progress_after) == (0.25, 0.375)


@pytest.fixture
def ink(styled, reference) -> Style:
    return styled.style(reference, removal="cleanstyle")


def expected_rows(style, step: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the authors' rows from the plain keys of a style: unconditional, conditional."""
    u, sigma, v = torch.linalg.svd(style.double(), full_matrices=False)
    alpha = 0.01 * (1 - torch.sigmoid(torch.tensor(20 * ((step + 1) / steps - 0.3), dtype=torch.float64)))
    tail = sigma * torch.exp(-alpha * sigma)
    tail[0] = sigma[0]
    return (u * (sigma * torch.exp(-0.2 * sigma))) @ v, (u * tail) @ v


@pytest.mark.parametrize("step", [0, 2, 7])
def test_keys_and_values_of_every_layer_are_the_authors_at_each_step(styled, reference, ink, step):
    plain = styled.adapter.style_layers(StyleConditioning(styled.style(reference), "all"))
    state = denoising_state(GUIDED, step=step, steps=8)
    for name, [style] in styled.adapter.style_layers(StyleConditioning(ink, "all")).items():
        pair = style.for_batch(2, GUIDED, style.shift.at(state))
        for found, given in zip(pair, (plain[name][0].key, plain[name][0].value), strict=True):
            expected = torch.stack(expected_rows(given[1, 0], step, 8)).float()
            assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_at_scale_zero_the_style_is_plain_bit_for_bit(styled, reference, ink, short, guidance):
    arguments = {**short, "guidance_scale": guidance, "seed": 1}
    plain = styled("a", style=reference, **arguments).images
    assert styled("a", style=ink.with_removal(0.0), **arguments).images.equal(plain)
    assert not styled("a", style=ink, **arguments).images.equal(plain)


def test_a_bound_style_is_cleaned_from_its_keys_and_values_bit_for_bit(styled, ink, short, tmp_path):
    expected = styled("a", style=ink, seed=1, **short).images
    path = styled.bind(ink).save(tmp_path / "ink.style.safetensors", exact=True)
    bare = InstantStyle(styled.pipe)
    assert bare("a", style=path, seed=1, **short).images.equal(expected)
    alone = Style.load(path).bound_only().save(tmp_path / "alone.style.safetensors", exact=True)
    assert bare("a", style=alone, seed=1, **short).images.equal(expected)
    # Nothing more than of a plain style is stored.
    assert not Style.load(path).bindings[0].shifts


def test_a_negative_style_takes_the_place_of_the_targeted_unconditional_row(styled, reference, ink):
    teal = styled.style(reference.rotate(90))
    plain = styled.adapter.style_layers(StyleConditioning(teal))
    for name, [style] in styled.adapter.style_layers(StyleConditioning(ink, negative_style=teal)).items():
        key, _ = style.shift.at(denoising_state())
        assert_close(style.key[0], plain[name][0].key[1])
        assert key[0].eq(0).all()
        assert key[1].ne(0).any()


def test_a_style_in_the_unconditional_half_alone_is_cleaned_there(styled, ink):
    for [style] in styled.adapter.style_layers(StyleConditioning(ink, unconditional=True)).values():
        key, _ = style.shift.at(denoising_state())
        assert key[1].eq(0).all()
        assert key[0].ne(0).any()


def test_an_image_is_the_same_alone_and_in_a_batch_with_styles_that_are_not_cleaned(styled, reference, ink, short):
    plain = styled.style(reference.rotate(90))
    batch = styled(["a", "b"], style=[ink, plain], seed=7, **short).images
    alone = [styled(p, style=s, seed=7 + i, **short).images for i, (p, s) in enumerate((("a", ink), ("b", plain)))]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_both_ways_of_cleaning_in_one_call_are_refused(styled, reference, ink, short):
    with pytest.raises(StyleError, match="cleaned by clean and by cleanstyle"):
        styled(["a", "b"], style=[ink, styled.style(reference, removal="clean")], **short)


def test_words_and_mixes_with_other_removals_are_refused(styled, reference, ink):
    with pytest.raises(StyleError, match="removal='cleanstyle' reads no words"):
        styled.style(reference, content="a", removal="cleanstyle")
    other = styled.style(reference.rotate(90))
    for parts in ([ink, other], [styled.bind(each).bound_only() for each in (ink, other)]):
        with pytest.raises(StyleError, match="cleanstyle acts on the keys and values of the whole mix"):
            Style.mix([(part, 1) for part in parts])
    mixed = Style.mix(
        [(styled.bind(each).bound_only(), 1) for each in (ink, other.with_removal(removal="cleanstyle"))]
    )
    assert (mixed.removal, mixed.content_scale) == ("cleanstyle", 1.0)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_a_network_in_half_precision_is_styled_in_its_dtype(styled, ink, short, dtype):
    full = styled("a", style=ink, seed=1, **short).images
    styled.pipe.to(dtype)
    half = styled("a", style=ink, seed=1, **short).images
    assert half.dtype == dtype
    assert_close(half.float(), full, rtol=0.1, atol=0.2)
