import sys

import numpy as np
import pytest
from PIL import Image

from instantstyle import ImageError, MissingExtra
from instantstyle.imaging.control_image import (
    canny_edges,
    control_arguments,
    fit_size,
    require_library,
    resize_image,
    resize_to_area,
)
from instantstyle.recipe_types import MAX_SIDE


@pytest.mark.parametrize("size", [(4000, 3000), (100, 100), (90, 600), (3, 3)])
def test_resizing_keeps_proportions_and_reaches_the_area(size):
    resized = resize_to_area(Image.new("RGB", size), 512)
    assert resized.width % 8 == resized.height % 8 == 0
    assert resized.width * resized.height == pytest.approx(512**2, rel=0.05)
    assert resized.width / resized.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_each_side_has_at_least_one_latent_pixel():
    assert resize_to_area(Image.new("RGB", (4000, 2)), 64).height == 8


def test_no_side_is_longer_than_that_of_a_recipe():
    """An image of extreme proportions is refused before it is resized, also where one side is given."""
    assert fit_size((1, 16384), 128) == (8, 16384)
    assert fit_size((1, 100), 128, width=160) == (160, 16000)
    # At sides that are both given, proportions do not matter.
    assert resize_image(Image.new("RGB", (1, 100_000)), 128, 16, 24).size == (16, 24)
    for size, given, drawn in (
        ((1, 16500), {}, "8×16440"),
        ((100_000, 1), {}, "40480×8"),
        ((1, 100_000), {"width": 1024}, "1024×102400000"),
        ((100, 1), {"height": 168}, "16800×168"),
    ):
        with pytest.raises(ImageError, match=f"would be drawn at {drawn} px, and a side has at most {MAX_SIDE}; crop"):
            resize_image(Image.new("RGB", size), 128, **given)


def test_edges_are_white_where_the_image_changes():
    image = Image.new("RGB", (32, 32))
    image.paste("white", (16, 0, 32, 32))
    edges = np.asarray(canny_edges(image))
    assert edges.shape == (32, 32, 3)
    assert set(np.unique(edges)) == {0, 255}
    assert np.flatnonzero(edges[16, :, 0]).tolist() in ([15], [16])


def test_a_controlnet_reads_edges_or_the_image_itself():
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    assert control_arguments(image, "none", "image") == {}
    assert control_arguments(image, "canny", "image") == {
        "image": canny_edges(image),
        "controlnet_conditioning_scale": 1.0,
    }
    tile = control_arguments(image, "tile", "control_image")
    assert tile == {"control_image": image, "controlnet_conditioning_scale": 0.4}


def test_without_opencv_the_error_has_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"is not installed: pip install 'instantstyle\[control\]', or set control"):
        canny_edges(Image.new("RGB", (8, 8)))
    with pytest.raises(MissingExtra, match="is not installed"):
        require_library("canny")
    require_library("tile")
    require_library("none")


def test_an_opencv_that_cannot_be_imported_is_an_error_with_its_reason(monkeypatch):
    def fail(name):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("instantstyle.imaging.control_image.import_module", fail)
    with pytest.raises(
        MissingExtra, match=r"cannot be imported \(libGL\.so\.1: .*pip install 'instantstyle\[control\]'"
    ):
        require_library("canny")
