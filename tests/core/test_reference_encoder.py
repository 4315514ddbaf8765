"""References are seen once, and the encoder's weights can be let go."""

import pytest
from PIL import Image

from instantstyle import InstantStyle, StyleError
from instantstyle.core.clip_encoders import ImageEncoder
from instantstyle.core.reference_encoder import CACHE_SIZE, ReferenceEncoder

from ..conftest import layer_weights, plus_projection


class Counted(ImageEncoder):
    """An encoder that counts the pictures it was shown."""

    shown = 0

    def embed(self, images, crop="center"):
        self.shown += len(images)
        return super().embed(images, crop)


@pytest.fixture
def encoder(image_encoder):
    return Counted(image_encoder)


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (40, 40), (level,) * 3)


def test_the_same_pixels_are_seen_once_whatever_picture_they_are_in(encoder):
    sight = ReferenceEncoder(encoder, uses_patch_features=False)
    first, _ = sight.encode([grey(10), grey(20)])
    again, _ = sight.encode([grey(20).copy(), grey(10)])
    assert encoder.shown == 2
    assert again.equal(first.flip(0))


def test_another_crop_is_another_look(encoder):
    sight = ReferenceEncoder(encoder, uses_patch_features=False)
    for crop in ("center", "pad", "center"):
        sight.encode([Image.new("RGB", (60, 40), "red")], crop)
    assert encoder.shown == 2


def test_only_the_latest_pictures_are_remembered(encoder):
    sight = ReferenceEncoder(encoder, uses_patch_features=False)
    sight.encode([grey(level) for level in range(CACHE_SIZE + 1)])
    sight.encode([grey(CACHE_SIZE)])
    assert encoder.shown == CACHE_SIZE + 1
    sight.encode([grey(0)])
    assert encoder.shown == CACHE_SIZE + 2


def test_an_encoder_that_is_not_kept_serves_again_from_its_folder(
    pipe, state, image_encoder, reference, tmp_path, short
):
    image_encoder.save_pretrained(tmp_path)
    styled = InstantStyle(pipe, adapter=state, image_encoder=tmp_path, keep_encoder=False)
    kept = InstantStyle(pipe, adapter=state, image_encoder=tmp_path)
    for picture in (reference, grey(5)):
        style = styled.style(picture)
        assert styled.image_encoder.is_free
        assert style.image_embeds.equal(kept.style(picture).image_embeds)
    assert styled("a", style=reference, seed=1, **short).images.isfinite().all()


def test_an_encoder_given_as_a_model_cannot_come_back(pipe, state, image_encoder, reference):
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, keep_encoder=False)
    first = styled.style(reference)
    assert styled.style(reference).image_embeds.equal(first.image_embeds)
    with pytest.raises(StyleError, match=r"keep_encoder=False.*pass its folder"):
        styled.style(grey(3))


def test_patch_features_of_no_picture_survive_the_encoder(pipe, layers, image_encoder, reference):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, keep_encoder=False)
    style = styled.style(reference)
    assert styled.image_encoder.is_free
    assert style.unconditional.shape == style.image_embeds.shape[1:]
