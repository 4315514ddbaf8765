"""`content_scale="auto"` leaves a reference no closer to the content than unrelated images are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleError
from instantstyle.core.content_removal import LARGEST_SCALE
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.core.reference_encoder import NUM_UNRELATED, ReferenceEncoder, unrelated_images

CONTENT = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
INK = Style(torch.tensor([[0.6, 0.0, 0.0, 0.8]]), torch.zeros(4), content=("a cat",), content_embeds=CONTENT)


class FakeEncoder(ImageEncoder):
    """Embeds every image at a cosine of 0.2 to the content, except for the fifth, which equals the content."""

    encoded = 0

    def embed(self, images: Sequence[Image.Image], crop: str = "center") -> Tensor:
        self.encoded += len(images)
        return CONTENT if self.encoded == 5 else torch.tensor([[0.2, 0.0, 0.96**0.5, 0.0]])


@pytest.fixture
def fake_encoder(image_encoder) -> FakeEncoder:
    return FakeEncoder(image_encoder)


@pytest.fixture
def reference_encoder(fake_encoder) -> ReferenceEncoder:
    return ReferenceEncoder(fake_encoder, uses_patch_features=False)


def cosine(style: Style) -> float:
    return torch.cosine_similarity(style.embedding(), CONTENT[0], dim=0).item()


def test_the_unrelated_images_are_reproducible_and_all_different():
    first = [image.tobytes() for image in unrelated_images()]
    unrelated_images.cache_clear()
    assert [image.tobytes() for image in unrelated_images()] == first
    assert len(set(first)) == NUM_UNRELATED


@pytest.mark.parametrize("removal", ["subtract", "project"])
def test_the_reference_becomes_as_close_to_the_content_as_unrelated_images_are(reference_encoder, removal: str):
    ink = INK.with_removal(removal=removal)
    scale = reference_encoder.auto_content_scale(ink)
    assert cosine(ink.with_removal(scale)) == pytest.approx(0.2, abs=1e-5)


def test_one_unrelated_image_that_shows_the_content_does_not_change_the_median(reference_encoder):
    assert reference_encoder.auto_content_scale(INK) < 0.6


def test_the_scale_is_zero_for_a_reference_that_does_not_show_the_content(reference_encoder):
    far = replace(INK, image_embeds=torch.tensor([[0.1, 1.0, 0.0, 0.0]]))
    assert reference_encoder.auto_content_scale(far) == 0


def test_of_concatenated_references_the_one_that_needs_the_largest_scale_decides(reference_encoder):
    far, near = torch.tensor([[0.1, 1.0, 0.0, 0.0]]), INK.image_embeds
    both = replace(INK, image_embeds=torch.cat([far, near]), weights=(1.0, 1.0), combine="concat")
    assert reference_encoder.auto_content_scale(both) == pytest.approx(reference_encoder.auto_content_scale(INK))


def test_the_unrelated_images_are_encoded_once(reference_encoder, fake_encoder):
    for _ in range(3):
        reference_encoder.auto_content_scale(INK)
    assert fake_encoder.encoded == NUM_UNRELATED


def test_a_call_and_a_style_select_the_same_scale(styled, reference, short):
    ink = styled.style(reference, content="a cat", content_scale="auto")
    assert 0 <= ink.content_scale <= LARGEST_SCALE
    expected = styled("a", style=ink, seed=1, **short).images
    removal: dict[str, Any] = {"content": "a cat", "content_scale": "auto"}
    assert styled("a", style=reference, seed=1, **removal, **short).images.equal(expected)
    assert styled.style(ink.with_removal(0.7), content_scale="auto").content_scale == ink.content_scale


def test_the_style_ends_at_the_median_cosine_of_the_unrelated_images(styled, reference):
    ink = styled.style(reference, content=["a cat", "a mat"], content_scale="auto", removal="project")
    assert ink.content_embeds is not None
    content = ink.content_embeds.sum(dim=0)
    embeds = torch.cat([styled.image_encoder.embed([image]) for image in unrelated_images()])
    unrelated = torch.cosine_similarity(embeds, content, dim=-1).median()
    before, after = (
        torch.cosine_similarity(style.embedding(), content, dim=0) for style in (ink.with_removal(0.0), ink)
    )
    assert_close(after, torch.minimum(before, unrelated.clamp(min=0)), rtol=1e-4, atol=1e-5)


def test_the_encoder_is_freed_again_with_keep_encoder_off(pipe, state, image_encoder, reference, tmp_path: Path):
    image_encoder.save_pretrained(tmp_path)
    styled = InstantStyle(pipe, adapter=state, image_encoder=tmp_path, keep_encoder=False)
    styled.style(reference, content="a cat", content_scale="auto")
    assert styled.image_encoder.is_free


def test_auto_is_rejected_where_it_is_undefined(styled, reference):
    bound = styled.bind(styled.style(reference, content="a cat"))
    lots: Any = "lots"
    for message, call in {
        "defined for subtract and project, not for mask": lambda: styled.style(
            reference, content="a cat", content_scale="auto", removal="mask"
        ),
        "there are none; pass content=": lambda: styled.style(reference, content_scale="auto"),
        "'lots'; it is a number, 0 for nothing, or 'auto'": lambda: styled.style(reference, content_scale=lots),
        "this pipeline has none": lambda: InstantStyle(styled.pipe)("a", style=bound, content_scale="auto"),
        "is bound only": lambda: styled("a", style=bound.bound_only(), content_scale="auto"),
    }.items():
        with pytest.raises(StyleError, match=message):
            call()
