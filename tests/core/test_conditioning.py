import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instantstyle.core.attention_processor import resize_mask
from instantstyle.core.conditioning import StyleConditioning, as_conditionings, load_mask
from instantstyle.core.style import Style
from instantstyle.errors import StyleError


@pytest.fixture(scope="module")
def ink():
    return Style(torch.randn(1, 8), torch.zeros(8))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_use_acts_between_start_and_end_only(one, other, done):
    start, end = sorted([one, other])
    use = StyleConditioning(Style(torch.zeros(1, 8), torch.zeros(8)), start=start, end=end)
    acts = use.schedule is None or use.schedule(done) == 1
    assert acts == (start <= done < end)


def test_a_curve_runs_straight_between_its_points(ink):
    factor = StyleConditioning(ink, curve=[0.0, 1.0, 0.0]).schedule
    assert factor
    assert [factor(done) for done in (0.0, 0.25, 0.5, 0.75)] == [0.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start": 0.6, "end": 0.4}, "start is 0.6 and end 0.4"),
        ({"end": 30.0}, "shares of the steps"),
        ({"scale": float("nan")}, "finite"),
        ({"curve": []}, "curve is"),
        ({"curve": [1.0, float("inf")]}, "curve is"),
    ],
)
def test_settings_without_meaning_are_refused(ink, wrong, told):
    with pytest.raises(StyleError, match=told):
        StyleConditioning(ink, **wrong)


def test_precise_style_acts_in_the_style_blocks_and_against_the_layout(ink):
    acts, against = StyleConditioning(ink, "precise-style", scale=0.7).expand_mode()
    assert (acts.blocks, acts.unconditional, acts.scale) == ({"style": 1.0}, False, 0.7)
    assert (against.blocks, against.unconditional, against.scale) == ({"layout": 1.0}, True, 0.7)


def test_precise_style_takes_no_negative_style_beside_its_own(ink):
    with pytest.raises(StyleError, match="an unconditional part of its own"):
        StyleConditioning(ink, "precise-style", negative_style=ink).expand_mode()


def test_settings_beside_a_use_are_refused_and_defaults_are_not(ink):
    assert as_conditionings(StyleConditioning(ink), blocks="style", scale=1.0, mask=None)[0].style is ink
    with pytest.raises(StyleError, match="scale beside a StyleConditioning"):
        as_conditionings([StyleConditioning(ink), StyleConditioning(ink)], scale=0.5)


def test_white_acts_and_black_does_not(tmp_path):
    picture = Image.new("L", (5, 3))
    picture.paste(255, (0, 0, 5, 1))
    picture.save(tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png").equal(torch.tensor([[1.0] * 5, [0.0] * 5, [0.0] * 5]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 7, 1), (1, 1, 3, 1), (3, 4, 1)])
def test_a_mask_may_be_one_pixel_high_or_wide(shape):
    assert load_mask(torch.ones(shape)).ndim == 2


@pytest.mark.parametrize("mask", [torch.full((3, 3), 2.0), torch.ones(2, 3, 3), torch.ones(0, 3)])
def test_a_tensor_that_is_no_mask_is_refused(mask):
    with pytest.raises(StyleError, match="mask"):
        load_mask(mask)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**31), st.integers(1, 16), st.integers(1, 16))
def test_a_mask_of_any_size_keeps_its_range_and_its_amount(height, width, seed, rows, columns):
    """Laid over latents of any size, also smaller and larger than itself and of other proportions."""
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    laid = resize_mask(load_mask(mask), (rows, columns))
    assert laid.shape == (rows * columns, 1)
    assert mask.min() - 1e-5 <= laid.min() <= laid.max() <= mask.max() + 1e-5
    if height % rows == width % columns == 0:
        assert laid.mean() == pytest.approx(mask.mean().item(), abs=1e-4)


@given(st.lists(st.integers(0, 3), max_size=4), st.floats(width=32))
def test_any_tensor_is_a_mask_or_a_style_error(shape, level):
    tensor = torch.full(shape, level)
    try:
        mask = load_mask(tensor)
    except StyleError:
        return
    assert mask.ndim == 2
    assert 0 <= mask.min() <= mask.max() <= 1
