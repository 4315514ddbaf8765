"""The benchmark on the small random pipeline: every setting is generated, timed, compared and scored."""

from typing import Any

import pytest
from PIL import Image

from benchmarks.accelerators import FULL, SETTINGS, mean_difference, measure_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def results(styled) -> dict[str, Any]:
    # Not the classifier's input size: it resizes the images.
    styled.defaults = {"num_inference_steps": 5, "height": 32, "width": 32}
    return measure_settings(styled, references=2, requested=1, seed=7, rounds=1)


def test_every_setting_has_its_time_its_difference_and_its_scores(results):
    assert (results["pictures"], results["seed"]) == (2, 7)
    assert results["full_seconds"] > 0
    assert list(results["settings"]) == list(SETTINGS)
    default = results["settings"][FULL]
    assert (default["time_to_full"], default["mean_absolute_difference"]) == (1.0, 0.0)
    for name, one in results["settings"].items():
        assert one["time_to_full"] > 0
        assert {"subject", "leak", "look", "palette"} <= set(one["scores"])
        assert name == FULL or one["mean_absolute_difference"] > 0


def test_the_difference_of_images_is_the_mean_over_pixels():
    black, white, grey = (Image.new("RGB", (4, 4), (level,) * 3) for level in (0, 255, 51))
    assert mean_difference([[black, black]], [[white, grey]]) == pytest.approx(0.6)
