"""Content as words, pictures, styles and embeddings: what is subtracted, how it is named, and what is refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleError
from instantstyle.core.content_removal import mask, project
from instantstyle.errors import PromptWarning

from ..conftest import EMBEDDING_DIM, layer_weights, make_image_encoder, plus_projection


@pytest.fixture
def cat(tmp_path) -> Path:
    path = tmp_path / "cat.png"
    Image.effect_noise((40, 30), 90).convert("RGB").save(path)
    return path


def test_a_picture_of_the_content_is_subtracted_whatever_form_it_has(styled, reference, cat):
    e, t = styled.style(reference).embedding(), styled.style(cat).embedding()
    image, stored = Image.open(cat).convert("RGB"), BytesIO()
    image.save(stored, "PNG")
    style = styled.style(cat)
    forms = (cat, image, stored.getvalue(), np.asarray(image), torch.from_numpy(np.array(image)), style)
    for form in (*forms, style.save(cat.with_suffix(".style.safetensors")), t, t[None], t.numpy(), t.double()):
        removed = styled.style(reference, content=form, content_scale=0.3)
        assert_close(removed.embedding(), e - 0.3 * t, msg=str(type(form)))
    for removal, function in (("project", project), ("mask", mask)):
        assert_close(
            styled.style(reference, content=cat, removal=removal, content_scale=0.7).embedding(),
            function(e, t[None], 0.7),
        )


def test_words_and_pictures_are_removed_together_and_named(styled, reference, cat):
    e, t = styled.style(reference).embedding(), styled.style(cat).embedding()
    word = styled.style(reference, content="a").content_embeds[0]
    both = styled.style(reference, content=["a", cat, t])
    assert_close(both.embedding(), e - 0.5 * (word + 2 * t))
    assert repr(both) == f'Style(image − ("a" + cat.png + an embedding) × 0.5, {both.encoder})'
    assert both.content_kinds == ("words", "image", "embedding")
    one_by_one = styled.minus(styled.minus(styled.style(reference, content="a"), cat), t)
    assert_close(one_by_one.embedding(), both.embedding())
    assert (one_by_one.content, one_by_one.content_kinds) == (both.content, both.content_kinds)
    assert [file and file.name for file in one_by_one.content_files] == [None, str(cat), None]


def test_a_string_is_words_even_where_a_file_has_its_name(styled, reference, cat, monkeypatch):
    monkeypatch.chdir(cat.parent)
    for words in ("cat.png", "ink.style.safetensors"):
        with pytest.warns(PromptWarning, match=rf"^content '{words}' is read as words; .* \(--content-image\)"):
            assert styled.style(reference, content=words).content_kinds == ()


def test_a_picture_is_cropped_as_the_reference_is(styled, reference, cat):
    removed = styled.style(reference, content=cat, crop="pad")
    assert_close(removed.content_embeds[0], styled.style(cat, crop="pad").embedding())


def test_pictures_can_be_subtracted_from_patch_features_and_words_cannot(pipe, layers, image_encoder, reference, cat):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    plus = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    e, t = plus.style(reference).embedding(), plus.style(cat).embedding()
    for form in (cat, t, t[None]):
        assert_close(plus.style(reference, content=form, content_scale=0.3).embedding(), e - 0.3 * t)
    assert_close(plus.style([reference, cat, cat], combine="subtract").embedding(), e - t)
    with pytest.raises(StyleError, match="words have no embedding"):
        plus.style(reference, content=["a", cat])
    with pytest.raises(StyleError, match="a picture can be subtracted only; removal is 'mask'"):
        plus.style(reference, content=cat, removal="mask")


def test_what_is_no_content_of_this_style_is_refused(styled, pipe, state, reference, cat):
    other = InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder(hidden=8)).style(reference)
    cases = {
        r"an embedding \[0 24\], which is empty": np.zeros((0, EMBEDDING_DIM), np.float32),
        r"an embedding \[0\], which is empty": torch.zeros(0),
        f"an embedding of width 25, and image has width {EMBEDDING_DIM}": torch.ones(25),
        "numbers that are not finite": torch.full((EMBEDDING_DIM,), torch.nan),
        "cannot be subtracted from each other; make both": other,
        "content is .*; it is words": [],
        r"content is \['a', ' '\]": ["a", " "],
    }
    for message, content in cases.items():
        with pytest.raises(StyleError, match=message):
            styled.style(reference, content=content)
    with pytest.raises(StyleError, match="removal='cleanstyle' reads no words"):
        styled.style(reference, content=cat, removal="cleanstyle")


def test_a_style_file_keeps_what_the_content_is(styled, reference, cat):
    saved = styled.style(reference, content=["a", cat])
    loaded = Style.load(saved.save(cat.with_suffix(".style.safetensors")))
    assert (loaded.content, loaded.content_kinds) == (("a", "cat.png"), ("words", "image"))
    assert loaded.label == saved.label
    assert_close(loaded.with_removal(0.1).embedding(), saved.with_removal(0.1).embedding())


def test_the_mask_of_a_quantile_is_an_option_of_a_style(styled, reference):
    style = styled.style(reference, content="a", removal="mask", mask_quantile=0.75)
    assert_close(style.embedding(), mask(styled.style(reference).embedding(), style.content_embeds, 1.0, 0.75))
    assert style.with_removal(removal="subtract").mask_quantile is None
    for arguments, message in (
        ({"removal": "mask", "mask_quantile": 1.5}, "mask_quantile is 1.5; it is a share in 0..1"),
        ({"mask_quantile": 0.5}, "no effect on removal='subtract'"),
    ):
        with pytest.raises(StyleError, match=message):
            styled.style(reference, content="a", **arguments)
    with pytest.raises(StyleError, match=r"mask_quantile=0\.5 has no effect without words"):
        styled.style(reference, removal="mask", mask_quantile=0.5)
