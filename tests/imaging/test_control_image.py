import builtins

import numpy as np
import pytest
from PIL import Image

from instantstyle import MissingExtra
from instantstyle.imaging.control_image import canny_edges, resize_to_area


@pytest.mark.parametrize("size", [(4000, 3000), (100, 100), (90, 600), (3, 3)])
def test_proportions_stay_and_the_area_becomes_the_models(size):
    drawn = resize_to_area(Image.new("RGB", size), 512)
    assert drawn.width % 8 == drawn.height % 8 == 0
    assert drawn.width * drawn.height == pytest.approx(512**2, rel=0.05)
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_a_sliver_still_has_a_side():
    assert resize_to_area(Image.new("RGB", (4000, 2)), 64).height == 8


def test_edges_are_white_where_the_picture_changes():
    photo = Image.new("RGB", (32, 32))
    photo.paste("white", (16, 0, 32, 32))
    found = np.asarray(canny_edges(photo))
    assert found.shape == (32, 32, 3)
    assert set(np.unique(found)) == {0, 255}
    assert np.flatnonzero(found[16, :, 0]).tolist() in ([15], [16])


def test_without_opencv_the_install_line_is_told(monkeypatch):
    absent = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cv2":
            raise ModuleNotFoundError(name)
        return absent(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'instantstyle\[control\]'"):
        canny_edges(Image.new("RGB", (8, 8)))
