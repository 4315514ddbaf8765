"""The benchmark on the small random pipeline: every setting is drawn, timed, compared and judged."""

import pytest
from PIL import Image

from benchmarks.accelerators import FULL, SETTINGS, apart, results_of


@pytest.fixture
def results(styled):
    # Not what the judge looks at: it sees them resized.
    styled.defaults = {"num_inference_steps": 5, "height": 32, "width": 32}
    return results_of(styled, references=2, asked=1, seed=7, rounds=1)


def test_every_setting_has_its_time_its_distance_and_its_scores(results):
    assert (results["pictures"], results["seed"]) == (2, 7)
    assert results["full_seconds"] > 0
    assert list(results["settings"]) == list(SETTINGS)
    full = results["settings"][FULL]
    assert (full["time_to_full"], full["mean_absolute_difference"]) == (1.0, 0.0)
    for name, one in results["settings"].items():
        assert one["time_to_full"] > 0
        assert {"subject", "leak", "look", "palette"} <= set(one["scores"])
        assert name == FULL or one["mean_absolute_difference"] > 0


def test_pictures_are_apart_by_the_mean_of_their_pixels():
    black, white, grey = (Image.new("RGB", (4, 4), (level,) * 3) for level in (0, 255, 51))
    assert apart([[black, black]], [[white, grey]]) == pytest.approx(0.6)
