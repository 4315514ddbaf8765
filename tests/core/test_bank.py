"""`content_scale="auto"`: as much as leaves a reference no closer to the words than unrelated pictures."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleError
from instantstyle.core.clip_encoders import ImageEncoder
from instantstyle.core.content_removal import LARGEST_SCALE
from instantstyle.core.reference_encoder import NUM_UNRELATED, ReferenceEncoder, unrelated_images


class Known(ImageEncoder):
    """Sees each unrelated picture at a cosine of 0.2 from the words, but for one that shows them."""

    shown = 0

    def embed(self, images, crop="center"):
        self.shown += len(images)
        return WORDS if self.shown == 5 else torch.tensor([[0.2, 0.0, 0.96**0.5, 0.0]])


WORDS = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
INK = Style(torch.tensor([[0.6, 0.0, 0.0, 0.8]]), torch.zeros(4), content=("a cat",), content_embeds=WORDS)


@pytest.fixture
def sight(image_encoder):
    return ReferenceEncoder(Known(image_encoder), uses_patch_features=False)


def cosine(style: Style) -> float:
    return torch.cosine_similarity(style.embedding(), WORDS[0], dim=0).item()


def test_the_bank_is_the_same_each_time_and_of_different_pictures():
    first = [picture.tobytes() for picture in unrelated_images()]
    unrelated_images.cache_clear()
    assert [picture.tobytes() for picture in unrelated_images()] == first
    assert len(set(first)) == NUM_UNRELATED


@pytest.mark.parametrize("removal", ["subtract", "project"])
def test_the_reference_ends_as_close_to_the_words_as_unrelated_pictures_are(sight, removal):
    ink = INK.with_removal(removal=removal)
    assert cosine(ink.with_removal(sight.auto_content_scale(ink))) == pytest.approx(0.2, abs=1e-5)


def test_one_unrelated_picture_that_shows_the_thing_does_not_matter(sight):
    assert sight.auto_content_scale(INK) < 0.6


def test_a_reference_that_shows_nothing_of_the_words_is_left_as_it_is(sight):
    far = replace(INK, image_embeds=torch.tensor([[0.1, 1.0, 0.0, 0.0]]))
    assert sight.auto_content_scale(far) == 0


def test_side_by_side_the_one_that_needs_most_decides(sight):
    far, near = torch.tensor([[0.1, 1.0, 0.0, 0.0]]), INK.image_embeds
    both = replace(INK, image_embeds=torch.cat([far, near]), weights=(1.0, 1.0), combine="concat")
    assert sight.auto_content_scale(both) == pytest.approx(sight.auto_content_scale(INK))


def test_the_bank_is_seen_once(sight):
    for _ in range(3):
        sight.auto_content_scale(INK)
    assert sight.encoder.shown == NUM_UNRELATED


def test_a_call_and_a_style_choose_alike(styled, reference, short):
    ink = styled.style(reference, content="a cat", content_scale="auto")
    assert 0 <= ink.content_scale <= LARGEST_SCALE
    drawn = styled("a", style=ink, seed=1, **short).images
    told = {"content": "a cat", "content_scale": "auto"}
    assert styled("a", style=reference, seed=1, **told, **short).images.equal(drawn)
    assert styled.style(ink.with_removal(0.7), content_scale="auto").content_scale == ink.content_scale


def test_it_is_what_the_encoder_says_of_both(styled, reference):
    ink = styled.style(reference, content=["a cat", "a mat"], content_scale="auto", removal="project")
    words = ink.content_embeds.sum(dim=0)
    seen = torch.cat([styled.image_encoder.embed([picture]) for picture in unrelated_images()])
    unrelated = torch.cosine_similarity(seen, words, dim=-1).median()
    before, after = (
        torch.cosine_similarity(style.embedding(), words, dim=0) for style in (ink.with_removal(0.0), ink)
    )
    assert_close(after, torch.minimum(before, unrelated.clamp(min=0)), rtol=1e-4, atol=1e-5)


def test_an_encoder_that_is_not_kept_is_let_go_again(pipe, state, image_encoder, reference, tmp_path):
    image_encoder.save_pretrained(tmp_path)
    styled = InstantStyle(pipe, adapter=state, image_encoder=tmp_path, keep_encoder=False)
    styled.style(reference, content="a cat", content_scale="auto")
    assert styled.image_encoder.is_free


def test_what_cannot_be_chosen_is_refused_by_name(styled, reference):
    bound = styled.bind(styled.style(reference, content="a cat"))
    for told, ask in {
        "not for mask": lambda: styled.style(reference, content="a cat", content_scale="auto", removal="mask"),
        "pass content=": lambda: styled.style(reference, content_scale="auto"),
        "a number, 0 not at all, or 'auto'": lambda: styled.style(reference, content_scale="lots"),
        "this pipeline has none": lambda: InstantStyle(styled.pipe)("a", style=bound, content_scale="auto"),
        "only bound": lambda: styled("a", style=bound.bound_only(), content_scale="auto"),
    }.items():
        with pytest.raises(StyleError, match=told):
            ask()
