"""Thumbnails are small, and invalid ones are rejected."""

import numpy as np
import pytest
from PIL import Image

from instantstyle import StyleError
from instantstyle.imaging.thumbnail import (
    THUMBNAIL_SIDE,
    combine_thumbnails,
    decode_thumbnail,
    make_thumbnail,
)


@pytest.mark.parametrize("size", [(9, 9), (4000, 30), (30, 4000), (1, 1), (128, 128)])
def test_a_thumbnail_keeps_proportions_and_is_small(size):
    thumbnail = decode_thumbnail(make_thumbnail([Image.new("RGB", size, "teal")]))
    assert max(thumbnail.size) == min(THUMBNAIL_SIDE, max(size))
    if size[0] >= size[1]:
        assert thumbnail.width >= thumbnail.height
    else:
        assert thumbnail.width < thumbnail.height


def test_several_images_are_side_by_side_within_the_same_size():
    images = [Image.new("RGB", (300, 300), colour) for colour in ("red", "lime", "blue")]
    combined = combine_thumbnails([make_thumbnail([image]) for image in images] + [b""])
    thumbnail = decode_thumbnail(combined)
    assert thumbnail.size == (THUMBNAIL_SIDE, 43)
    pixels = np.asarray(thumbnail)
    brightest = [pixels[20, x].argmax() for x in (20, 64, 108)]
    assert brightest == [0, 1, 2]
    assert combine_thumbnails([b"", b""]) == b""


def test_invalid_thumbnails_are_rejected():
    valid = make_thumbnail([Image.new("RGB", (9, 9))])
    for data in (b"", b"GIF89a", valid[: len(valid) // 2], valid[:200]):
        with pytest.raises(StyleError):
            decode_thumbnail(data)
