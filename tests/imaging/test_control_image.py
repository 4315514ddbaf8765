import builtins

import numpy as np
import pytest
from PIL import Image

from instantstyle import MissingExtra
from instantstyle.imaging.control_image import canny_edges, resize_to_area


@pytest.mark.parametrize("size", [(4000, 3000), (100, 100), (90, 600), (3, 3)])
def test_resizing_keeps_proportions_and_reaches_the_area(size):
    resized = resize_to_area(Image.new("RGB", size), 512)
    assert resized.width % 8 == resized.height % 8 == 0
    assert resized.width * resized.height == pytest.approx(512**2, rel=0.05)
    assert resized.width / resized.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_each_side_has_at_least_one_latent_pixel():
    assert resize_to_area(Image.new("RGB", (4000, 2)), 64).height == 8


def test_edges_are_white_where_the_image_changes():
    image = Image.new("RGB", (32, 32))
    image.paste("white", (16, 0, 32, 32))
    edges = np.asarray(canny_edges(image))
    assert edges.shape == (32, 32, 3)
    assert set(np.unique(edges)) == {0, 255}
    assert np.flatnonzero(edges[16, :, 0]).tolist() in ([15], [16])


def test_without_opencv_the_error_has_the_install_command(monkeypatch):
    original = builtins.__import__

    def import_without_opencv(name, *args, **kwargs):
        if name == "cv2":
            raise ModuleNotFoundError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_without_opencv)
    with pytest.raises(MissingExtra, match=r"pip install 'instantstyle\[control\]'"):
        canny_edges(Image.new("RGB", (8, 8)))
