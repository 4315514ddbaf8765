"""Each reference image is encoded once, and the encoder's weights can be freed."""

import pytest
from PIL import Image

from instantstyle import InstantStyle, StyleError
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.core.reference_encoder import CACHE_SIZE, ReferenceEncoder

from ..conftest import layer_weights, plus_projection


class CountingEncoder(ImageEncoder):
    """An encoder that counts the images it encodes."""

    num_encoded = 0

    def embed(self, images, crop="center"):
        self.num_encoded += len(images)
        return super().embed(images, crop)


@pytest.fixture
def encoder(image_encoder):
    return CountingEncoder(image_encoder)


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (40, 40), (level,) * 3)


def test_equal_pixels_are_encoded_once(encoder):
    reference_encoder = ReferenceEncoder(encoder, uses_patch_features=False)
    first, _ = reference_encoder.encode([grey(10), grey(20)])
    again, _ = reference_encoder.encode([grey(20).copy(), grey(10)])
    assert encoder.num_encoded == 2
    assert again.equal(first.flip(0))


def test_each_crop_is_encoded_separately(encoder):
    reference_encoder = ReferenceEncoder(encoder, uses_patch_features=False)
    for crop in ("center", "pad", "center"):
        reference_encoder.encode([Image.new("RGB", (60, 40), "red")], crop)
    assert encoder.num_encoded == 2


def test_only_the_latest_images_are_cached(encoder):
    reference_encoder = ReferenceEncoder(encoder, uses_patch_features=False)
    reference_encoder.encode([grey(level) for level in range(CACHE_SIZE + 1)])
    reference_encoder.encode([grey(CACHE_SIZE)])
    assert encoder.num_encoded == CACHE_SIZE + 1
    reference_encoder.encode([grey(0)])
    assert encoder.num_encoded == CACHE_SIZE + 2


def test_a_freed_encoder_is_loaded_again_from_its_folder(pipe, state, image_encoder, reference, tmp_path, short):
    image_encoder.save_pretrained(tmp_path)
    styled = InstantStyle(pipe, adapter=state, image_encoder=tmp_path, keep_encoder=False)
    kept = InstantStyle(pipe, adapter=state, image_encoder=tmp_path)
    for image in (reference, grey(5)):
        style = styled.style(image)
        assert styled.image_encoder.is_free
        assert style.image_embeds.equal(kept.style(image).image_embeds)
    images = [each("a", style=reference, seed=1, **short).images for each in (styled, kept)]
    assert images[0].equal(images[1])


def test_a_freed_encoder_passed_as_a_model_encodes_no_new_image(pipe, state, image_encoder, reference):
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, keep_encoder=False)
    first = styled.style(reference)
    assert styled.style(reference).image_embeds.equal(first.image_embeds)
    with pytest.raises(StyleError, match=r"keep_encoder=False.*pass its folder"):
        styled.style(grey(3))


def test_unconditional_patch_features_remain_after_the_encoder_is_freed(pipe, layers, image_encoder, reference):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, keep_encoder=False)
    style = styled.style(reference)
    assert styled.image_encoder.is_free
    assert style.unconditional.shape == style.image_embeds.shape[1:]
