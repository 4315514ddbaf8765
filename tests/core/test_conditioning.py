"""Settings of a conditioning: validation, schedule, modes and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instantstyle.core.attention.weight import resize_mask
from instantstyle.core.conditioning import StyleConditioning, as_conditionings, load_mask
from instantstyle.core.style import Style
from instantstyle.errors import ImageError, StyleError

from ..helpers import seeded_generator


@pytest.fixture(scope="module")
def ink() -> Style:
    return Style(torch.randn(1, 8), torch.zeros(8))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_conditioning_acts_between_start_and_end_only(one: float, other: float, progress: float):
    start, end = sorted([one, other])
    conditioning = StyleConditioning(Style(torch.zeros(1, 8), torch.zeros(8)), start=start, end=end)
    acts = conditioning.schedule is None or conditioning.schedule(progress) == 1
    assert acts == (start <= progress < end)


def test_a_curve_is_interpolated_linearly(ink):
    factor = StyleConditioning(ink, curve=[0.0, 1.0, 0.0]).schedule
    assert factor
    assert [factor(progress) for progress in (0.0, 0.25, 0.5, 0.75)] == [0.0, 0.5, 1.0, 0.5]


def test_the_last_of_k_steps_has_the_share_before_the_end_of_a_curve(ink):
    """docs/modes.md states the rule: step i of k has the share i/k, factor i of n applies at i/(n − 1)."""
    factor = StyleConditioning(ink, curve=[1.0, 0.0]).schedule
    assert factor
    assert [factor(i / 2) for i in range(2)] == [1.0, 0.5]
    assert factor(3 / 4) == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0.6, "end": 0.4}, "start is 0.6 and end 0.4"),
        ({"end": 30.0}, "0.0 and end 30.0; they are shares of the steps"),
        ({"scale": float("nan")}, "scale is nan; it must be a finite number"),
        ({"curve": []}, r"curve is \[\]; it must be one finite number or several"),
        ({"curve": [1.0, float("inf")]}, r"curve is \[1.0, inf\]; it must be one finite"),
    ],
)
def test_settings_out_of_range_are_rejected(ink, settings: dict[str, Any], message: str):
    with pytest.raises(StyleError, match=message):
        StyleConditioning(ink, **settings)


def test_precise_style_is_conditional_in_style_blocks_and_unconditional_in_layout_blocks(ink):
    conditional, unconditional = StyleConditioning(ink, "precise-style", scale=0.7).expand_mode()
    assert (conditional.blocks, conditional.unconditional) == ({"style": 1.0}, False)
    assert (unconditional.blocks, unconditional.unconditional) == ({"layout": 1.0}, True)
    assert conditional.scale == unconditional.scale == 0.7


def test_precise_style_with_a_negative_style_is_rejected(ink):
    with pytest.raises(StyleError, match="an unconditional part of its own"):
        StyleConditioning(ink, "precise-style", negative_style=ink).expand_mode()


def test_settings_beside_a_conditioning_are_rejected_unless_they_are_defaults(ink):
    assert as_conditionings(StyleConditioning(ink), blocks="style", scale=1.0, mask=None)[0].style is ink
    with pytest.raises(StyleError, match="scale beside a StyleConditioning"):
        as_conditionings([StyleConditioning(ink), StyleConditioning(ink)], scale=0.5)


def test_white_is_weight_one_and_black_is_weight_zero(tmp_path: Path):
    image = Image.new("L", (5, 3))
    image.paste(255, (0, 0, 5, 1))
    image.save(tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png").equal(torch.tensor([[1.0] * 5, [0.0] * 5, [0.0] * 5]))


def test_a_grey_mask_of_zeros_and_ones_is_black_and_white_in_each_mode(tmp_path: Path):
    levels = np.array([[0, 1], [1, 0]])
    images = [Image.fromarray(levels.astype(dtype)) for dtype in (np.uint8, np.uint16, np.int32)]
    assert [image.mode for image in images] == ["L", "I;16", "I"]
    for image in images:
        image.save(tmp_path / f"{image.mode}.tiff")
        for source in (image, tmp_path / f"{image.mode}.tiff"):
            assert load_mask(source).equal(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert load_mask(Image.fromarray(levels.astype(np.uint8) * 2)).max() == pytest.approx(2 / 255)


def test_masked_arrays_and_closed_images_are_refused_by_name(tmp_path: Path):
    masked = np.ma.masked_array(np.ones((2, 2), np.float32), mask=[[True, False], [False, True]])
    with pytest.raises(StyleError, match="masked arrays are not read; fill it"):
        load_mask(masked)
    Image.new("L", (2, 2), 255).save(tmp_path / "mask.png")
    closed = Image.open(tmp_path / "mask.png")
    closed.load()
    closed.close()
    with pytest.raises(ImageError, match="is a PIL image that was closed"):
        load_mask(closed)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 7, 1), (1, 1, 3, 1), (3, 4, 1)])
def test_a_mask_may_be_one_pixel_high_or_wide(shape: tuple[int, ...]):
    assert load_mask(torch.ones(shape)).ndim == 2


@pytest.mark.parametrize("mask", [torch.full((3, 3), 2.0), torch.ones(2, 3, 5), torch.ones(0, 3)])
def test_a_tensor_that_is_not_a_mask_is_rejected(mask: torch.Tensor):
    with pytest.raises(StyleError, match=r"A mask is \[height width\] of numbers 0..1; this one is"):
        load_mask(mask)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**31), st.integers(1, 16), st.integers(1, 16))
def test_a_resized_mask_keeps_its_range_and_mean(height: int, width: int, seed: int, rows: int, columns: int):
    """The layer may be smaller or larger than the mask, and of other proportions."""
    mask = torch.rand(height, width, generator=seeded_generator(seed))
    resized = resize_mask(load_mask(mask), (rows, columns))
    assert resized.shape == (rows * columns, 1)
    assert mask.min() - 1e-5 <= resized.min() <= resized.max() <= mask.max() + 1e-5
    if height % rows == width % columns == 0:
        assert resized.mean() == pytest.approx(mask.mean().item(), abs=1e-4)


@given(st.lists(st.integers(0, 3), max_size=4), st.floats(width=32))
def test_any_tensor_gives_a_valid_mask_or_a_style_error(shape: list[int], level: float):
    tensor = torch.full(shape, level)
    try:
        mask = load_mask(tensor)
    except StyleError:
        return
    assert mask.ndim == 2
    assert 0 <= mask.min() <= mask.max() <= 1
