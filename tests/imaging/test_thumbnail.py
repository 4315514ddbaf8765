"""Thumbnails: small, whole, and refused where they are something else."""

import pytest
from PIL import Image

from instantstyle import StyleError
from instantstyle.imaging.thumbnail import THUMBNAIL_SIDE, combine_thumbnails, decode_thumbnail, make_thumbnail


@pytest.mark.parametrize("size", [(9, 9), (4000, 30), (30, 4000), (1, 1), (128, 128)])
def test_a_thumbnail_keeps_proportions_and_is_small(size):
    shown = decode_thumbnail(make_thumbnail([Image.new("RGB", size, "teal")]))
    assert max(shown.size) == min(THUMBNAIL_SIDE, max(size))
    assert shown.width >= shown.height if size[0] >= size[1] else shown.width < shown.height


def test_several_lie_side_by_side_within_the_same_bounds():
    pictures = [Image.new("RGB", (300, 300), colour) for colour in ("red", "lime", "blue")]
    shown = decode_thumbnail(combine_thumbnails([make_thumbnail([picture]) for picture in pictures] + [b""]))
    assert shown.size == (THUMBNAIL_SIDE, 43)
    brightest = [max(range(3), key=lambda i: shown.getpixel((x, 20))[i]) for x in (20, 64, 108)]
    assert brightest == [0, 1, 2]
    assert combine_thumbnails([b"", b""]) == b""


def test_what_is_no_thumbnail_is_refused():
    large = make_thumbnail([Image.new("RGB", (9, 9))])
    for data in (b"", b"GIF89a", large[: len(large) // 2], large[:200]):
        with pytest.raises(StyleError):
            decode_thumbnail(data)
