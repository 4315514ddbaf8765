"""Arrays and tensors are accepted as images and masks, or refused by name, dtype, shape and range."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from instantstyle import ImageError
from instantstyle.imaging.loading import open_mask, open_reference, read_mask

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = LEVELS[..., 0]
CHANNELS_FIRST = LEVELS.transpose(2, 0, 1)


def levels(source: Any) -> list[Any]:
    image = open_reference(source)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


IMAGES = {
    "uint8 HWC": LEVELS,
    "uint8 CHW": CHANNELS_FIRST,
    "float32 HWC": LEVELS.astype(np.float32) / 255,
    "float64 HWC": LEVELS / 255,
    "float16 HWC": (LEVELS / 255).astype(np.float16),
    "one in a batch": LEVELS[None],
    "not contiguous": LEVELS[::-1, ::-1][::-1, ::-1],
    "in Fortran's order": np.asfortranarray(LEVELS),
    "big-endian": (LEVELS / 255).astype(">f4"),
    "tensor uint8 CHW": torch.from_numpy(CHANNELS_FIRST.copy()),
    "tensor uint8 HWC": torch.from_numpy(LEVELS),
    "tensor float32 CHW": torch.from_numpy(CHANNELS_FIRST / 255).float(),
    "tensor with gradients": torch.from_numpy(CHANNELS_FIRST / 255).float().requires_grad_(),
    "tensor one in a batch": torch.from_numpy(CHANNELS_FIRST[None] / 255),
    "with rounding errors": (LEVELS / 255) * 1.0005 - 0.0002,
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_array_is_the_image_of_its_levels(name):
    tolerance = 1 if "float16" in name or "rounding" in name else 0
    assert np.abs(np.asarray(levels(IMAGES[name])) - LEVELS.astype(int)).max() <= tolerance


def test_bfloat16_is_accepted():
    tensor = torch.from_numpy(CHANNELS_FIRST / 255).to(torch.bfloat16)
    assert np.abs(np.asarray(levels(tensor)) - LEVELS.astype(int)).max() <= 2


@pytest.mark.parametrize("array", [GREY, GREY[..., None], GREY[None], GREY / 255, torch.from_numpy(GREY.copy())[None]])
def test_grey_has_equal_channels(array):
    assert levels(array) == np.repeat(GREY[..., None], 3, axis=-1).tolist()


def test_what_is_boolean_is_black_and_white():
    assert levels(np.array([[True, False]])) == [[[255] * 3, [0] * 3]]


def test_a_fourth_channel_is_transparency():
    array = np.dstack([np.zeros((1, 2, 3), dtype=np.uint8), np.array([[0, 255]], dtype=np.uint8)])
    assert levels(array) == [[[255] * 3, [0] * 3]]
    white = np.dstack([np.full((1, 2, 3), 255, dtype=np.uint8), np.array([[0, 255]], dtype=np.uint8)])
    assert np.asarray(open_mask(white)).tolist() == [[0, 255]]
    assert np.asarray(open_mask(torch.from_numpy(white).permute(2, 0, 1) / 255)).tolist() == [[0, 255]]


def test_channels_are_last_in_an_array_and_first_in_a_tensor_where_both_fit():
    array = np.zeros((3, 2, 3), dtype=np.uint8)
    array[..., 0] = 255
    assert open_reference(array).size == (2, 3)
    assert levels(array)[0][0] == [255, 0, 0]
    assert open_reference(torch.from_numpy(array)).size == (3, 2)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.array([[0, 255]], dtype=np.uint8), [[0, 1]]),
        (torch.tensor([[0, 51]], dtype=torch.uint8), [[0, 0.2]]),
        (np.array([[0, 1]], dtype=np.uint8), [[0, 1]]),
        (torch.tensor([[0, 1]]), [[0, 1]]),
        (torch.tensor([[False, True]]), [[0, 1]]),
        (np.array([[0.125, 1]]), [[0.125, 1]]),
        (np.array([[[0.3], [1]]], dtype=np.float32), [[0.3, 1]]),
        (torch.tensor([[[[0.3, 0.7]]]]), [[0.3, 0.7]]),
        (np.full((1, 2, 3), 255, dtype=np.uint8), [[1, 1]]),
    ],
)
def test_a_mask_has_these_weights(mask, expected):
    weights = read_mask(mask)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=1e-6)


REFUSED = {
    "levels as floats": (
        LEVELS.astype(np.float32),
        r"^reference is float32 \[6, 5, 3\] with values .*\.\.25\d.*0\.\.1.*255",
    ),
    "-1 to 1": (LEVELS / 127.5 - 1, r"reference is float64 \[6, 5, 3\] with values -[\d.]+\.\.0"),
    "NaN": (np.full((2, 2), np.nan), r"float64 \[2, 2\] with values nan"),
    "infinity": (np.full((2, 2), np.inf), r"values inf"),
    "int64": (LEVELS.astype(np.int64), r"int64 \[6, 5, 3\] with values 0?.*expected uint8"),
    "uint16": (LEVELS.astype(np.uint16), r"uint16 \[6, 5, 3\]"),
    "complex": (LEVELS.astype(np.complex64), r"complex64 \[6, 5, 3\]"),
    "objects": (np.array([[None, 1]]), r"object \[1, 2\]"),
    "text": (np.array([["a", "b"]]), r"\[1, 2\]"),
    "times": (np.array([["2020-01-01"]], dtype="datetime64[D]"), r"datetime64"),
    "a number": (np.array(3.0), r"float64 \[\]; expected \[height, width\]"),
    "a row": (np.zeros(5), r"float64 \[5\]"),
    "two channels": (np.zeros((6, 5, 2)), r"float64 \[6, 5, 2\]"),
    "no pixels": (np.zeros((0, 5, 3)), r"\[0, 5, 3\]"),
    "several images": (np.zeros((2, 6, 5, 3), dtype=np.uint8), r"uint8 \[2, 6, 5, 3\]"),
    "latents": (torch.zeros(1, 4, 8, 8) - 2, r"float32 \[1, 4, 8, 8\] with values -2\.\.-2"),
    "a tensor without values": (
        torch.zeros(3, 8, 8, device="meta"),
        r"float32 \[3, 8, 8\]; its values cannot be read",
    ),
    "a sparse tensor": (torch.zeros(8, 8).to_sparse(), r"float32 \[8, 8\]; its values cannot be read"),
    "a number instead": (3, "reference is int; pass the path"),
    "nothing": (None, "reference is NoneType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_values_are_refused_in_one_line(name):
    source, message = REFUSED[name]
    with pytest.raises(ImageError, match=message) as error:
        open_reference(source, "reference")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_the_bytes_of_a_file_are_an_image(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for source in (data, bytearray(data), memoryview(data)):
        assert levels(source) == LEVELS.tolist()
    with pytest.raises(ImageError, match=r"^reference is not an image in a supported format"):
        open_reference(b"abc", "reference")
    with pytest.raises(ImageError, match=r"^reference is empty"):
        open_reference(b"", "reference")


def test_an_array_is_not_changed():
    array = LEVELS.copy()
    open_reference(array).paste(0, (0, 0, 5, 6))
    assert np.array_equal(array, LEVELS)
