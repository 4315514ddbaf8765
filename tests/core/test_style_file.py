"""A style on disk: whole or refused in one line, whatever happened to its bytes."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load, save
from torch.testing import assert_close

from instantstyle import JobError, Style, StyleError
from instantstyle.core.bound_style import BoundKeyValues
from instantstyle.core.style_file import (
    FORMAT,
    KEY,
    VERSION,
    StyleMetadata,
    _hash,
    _text,
    style_metadata,
    style_tensors,
)
from instantstyle.imaging.thumbnail import make_thumbnail
from instantstyle.unet.architectures import SDXL

from ..helpers import seeded_generator

LAYER = "up_blocks.0.attentions.1.transformer_blocks.0.attn2"
DOCUMENT = Path(__file__).parents[2] / "docs" / "style-file.md"


def binding(seed: int = 0, family: str = "sdxl", adapter: str = "a" * 16, layers=(LAYER,)) -> BoundKeyValues:
    return BoundKeyValues(family, adapter, pairs(seed, layers))


def pairs(seed: int, layers=(LAYER,)):
    return {
        name: (
            torch.randn(2, 4, 8, generator=seeded_generator(seed)),
            torch.randn(2, 4, 8, generator=seeded_generator(seed + 99)),
        )
        for name in layers
    }


def cleaned() -> Style:
    """A style whose bound part holds what cleaning adds."""
    fades = BoundKeyValues("sdxl", "a" * 16, pairs(0), pairs(5))
    return whole(removal="clean", content_scale=1.0, bindings=(fades,))


def whole(**changes) -> Style:
    """A style with everything that a file can hold."""
    parts = {
        "image_embeds": torch.randn(2, 6, generator=seeded_generator(1)),
        "unconditional": torch.zeros(6),
        "weights": (2.0, 1.0),
        "content": ("a cat",),
        "content_embeds": torch.randn(1, 6, generator=seeded_generator(2)),
        "content_scale": 0.7,
        "removal": "project",
        "name": "ink.png",
        "encoder": "CLIP-6",
        "encoder_fingerprint": "b" * 16,
        "crop": "pad",
        "thumbnail": b"\xff\xd8 as if it were a JPEG",
        "author": "Ada",
        "licence": "CC0-1.0",
        "notes": "Two drawings, “quick”.",
        "bindings": (binding(),),
    }
    return Style(**{**parts, **changes})


def same(one: Style, other: Style) -> bool:
    tensors = [style_tensors(style, exact=True) for style in (one, other)]
    return style_metadata(one) == style_metadata(other) and all(
        tensors[0].keys() == tensors[1].keys() and tensors[0][name].equal(tensors[1][name]) for name in tensors[0]
    )


def rewritten(path: Path, change) -> None:
    """The file with its fields and tensors changed, and its content hash made right again."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    fields, tensors = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY]), load(data)
    del fields["sha256"]
    change(fields, tensors)
    path.write_bytes(save(tensors, {KEY: _text({**fields, "sha256": _hash(fields, tensors)})}))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ink.style.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> bytes:
    return whole().save(tmp_path_factory.mktemp("style") / "ink.style.safetensors").read_bytes()


def test_a_style_survives_its_file_exactly(path):
    assert same(Style.load(whole().save(path, exact=True)), whole())


def test_a_cleaned_style_survives_its_file_exactly(path):
    assert same(Style.load(cleaned().save(path, exact=True)), cleaned())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _, tensors: tensors.pop(f"bound.sdxl.{LAYER}.key_shift"), "no half of a pair"),
        (
            lambda _, tensors: tensors.update({f"bound.sdxl.{LAYER}.value_shift": torch.zeros(2, 5, 8)}),
            "no half of a pair",
        ),
        (
            lambda _, tensors: [tensors.pop(f"bound.sdxl.{LAYER}.{half}_shift") for half in ("key", "value")],
            "removal is clean, but the keys and values are not",
        ),
        (
            lambda _, tensors: [tensors.pop(f"bound.sdxl.{LAYER}.{half}") for half in ("key", "value")],
            "no half of a pair",
        ),
        (
            lambda _, tensors: tensors[f"bound.sdxl.{LAYER}.key_shift"].fill_(torch.inf),
            "is not finite or of a wrong dtype",
        ),
    ],
)
def test_a_cleaned_style_that_is_not_whole_is_refused(path, change, told):
    rewritten(cleaned().save(path), change)
    with pytest.raises(StyleError, match=told):
        Style.load(path)


def test_keys_and_values_are_kept_in_halves_unless_exact(path):
    kept = Style.load(whole().save(path)).bindings[0].layers[LAYER]
    for found, made in zip(kept, binding().layers[LAYER], strict=True):
        assert found.dtype == torch.float16
        assert found.equal(made.half())


def test_a_style_that_was_loaded_can_still_be_retuned(path):
    found = Style.load(whole().save(path))
    assert_close(found.with_removal(0.1, "subtract").embedding(), whole().with_removal(0.1, "subtract").embedding())
    assert_close(found.with_weights([1, 3]).embedding(), whole(weights=(1.0, 3.0)).embedding())


def test_what_was_retuned_is_bound_no_longer(path):
    found = Style.load(whole().save(path))
    assert found.with_removal(found.content_scale, found.removal).bindings == found.bindings
    assert found.with_removal(0.1).bindings == found.with_weights([1, 3]).bindings == ()


def test_a_style_may_be_kept_without_its_ingredients(path):
    found = Style.load(whole().bound_only().save(path, exact=True))
    assert same(found, whole().bound_only())
    with pytest.raises(StyleError, match="bound only"):
        found.with_removal(0.1)
    with pytest.raises(StyleError, match="bound only"):
        found.embedding()


def test_the_same_style_is_the_same_bytes(tmp_path):
    files = [whole().save(tmp_path / f"{place}.style.safetensors") for place in range(8)]
    assert len({file.read_bytes() for file in files}) == 1


def test_a_file_that_exists_is_kept_unless_forced(path):
    whole().save(path)
    with pytest.raises(JobError, match="exists already"):
        whole().save(path)
    whole(name="other").save(path, force=True)
    assert Style.load(path).name == "other"


def test_a_style_file_ends_as_such(tmp_path):
    with pytest.raises(JobError, match=r"should end in \.style\.safetensors"):
        whole().save(tmp_path / "ink.safetensors")


def test_keys_too_large_for_halves_are_refused_and_kept_exactly(path):
    large = torch.full((2, 4, 8), 1e6)
    huge = BoundKeyValues("sdxl", "a" * 16, {LAYER: (large, large)})
    with pytest.raises(StyleError, match="exact=True"):
        whole(bindings=(huge,)).save(path)
    assert Style.load(whole(bindings=(huge,)).save(path, exact=True)).bindings[0].layers[LAYER][0].max() == 1e6


def test_bound_for_sdxls_style_block_it_is_half_a_megabyte_at_most(path):
    """At true shape: ten layers, a key and a value each, both sides, four tokens 1280 wide, in halves."""
    wanted = {str(block) for block in SDXL.select("style")}
    layers = {
        name: (
            torch.randn(2, 4, width, generator=seeded_generator(0)),
            torch.randn(2, 4, width, generator=seeded_generator(0)),
        )
        for name, width in SDXL.layers.items()
        if name.partition(".transformer")[0] in wanted
    }
    assert len(layers) == 10
    noise = torch.randint(0, 256, (128, 128, 3), generator=seeded_generator(3), dtype=torch.uint8).numpy()
    style = Style(
        torch.randn(1, 1280),
        torch.zeros(1280),
        content=("a cat",),
        content_embeds=torch.randn(1, 1280),
        thumbnail=make_thumbnail([Image.fromarray(noise)]),
        bindings=(BoundKeyValues("sdxl", "a" * 16, layers),),
    )
    assert style.bindings[0].size == 2 * 10 * 2 * 2 * 4 * 1280 * 2
    assert 400_000 < style.save(path).stat().st_size <= 500_000


@given(share=st.floats(0, 1, exclude_max=True), byte=st.none() | st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_a_damaged_file_is_refused_or_loads_whole(tmp_path_factory, data, share, byte):
    """Cut short, or one of its bytes another."""
    place = int(share * len(data))
    damaged = data[:place] if byte is None else data[:place] + bytes([byte]) + data[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "damaged.style.safetensors"
    path.write_bytes(damaged)
    try:
        found = Style.load(path)
    except StyleError as fault:
        told = str(fault)
    else:
        path.write_bytes(data)
        assert same(found, Style.load(path))
        return
    assert str(path) in told
    assert "\n" not in told


@given(content=st.binary(max_size=300), length=st.none() | st.integers(0, 400))
@settings(deadline=None)
def test_any_bytes_are_refused_in_one_line(tmp_path_factory, content, length):
    path = tmp_path_factory.getbasetemp() / "any.style.safetensors"
    path.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    with pytest.raises(StyleError, match=re.escape(str(path))):
        Style.load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda fields, _: fields.update(version=2), "version 2; this release reads version 1"),
        (lambda fields, _: fields.update(format="paint"), "has not the format 'instantstyle style'"),
        (lambda fields, _: fields.update(combine="median"), "combine: Input should be"),
        (lambda fields, _: fields.update(mood="good"), "mood: Extra inputs"),
        (lambda fields, _: fields.pop("content_scale"), "content_scale: Field required"),
        (lambda fields, _: fields.update(weights=[1]), "1 weights for image_embeds"),
        (lambda fields, _: fields.update(weights=[0, 0]), "not all 0"),
        (lambda fields, _: fields.update(content=[]), "content_embeds [1, 6] for 0 phrases"),
        (lambda fields, _: fields.update(bound={}), "extra bound.sdxl."),
        (lambda fields, _: fields["bound"].update(mini=""), "nothing bound for mini"),
        (lambda _, tensors: tensors.pop("unconditional"), "one is missing"),
        (lambda _, tensors: tensors.update(image_embeds=torch.zeros(2, 7)), "beside unconditional [6]"),
        (lambda _, tensors: tensors.update(image_embeds=torch.tensor(1.0)), "beside unconditional [6]"),
        (
            lambda _, tensors: tensors["unconditional"].fill_(torch.nan),
            "unconditional is not finite or of a wrong dtype",
        ),
        (
            lambda _, tensors: tensors.update(thumbnail=torch.zeros(3)),
            "thumbnail is not finite or of a wrong dtype",
        ),
        (lambda _, tensors: tensors.update(code=torch.zeros(3)), "extra code"),
        (lambda _, tensors: tensors.pop(f"bound.sdxl.{LAYER}.key"), "no half of a pair"),
        (
            lambda _, tensors: tensors.update({f"bound.sdxl.{LAYER}.key": torch.zeros(2, 8)}),
            "no half of a pair",
        ),
    ],
)
def test_a_file_with_a_right_hash_is_not_believed_either(path, change, told):
    rewritten(whole().save(path), change)
    with pytest.raises(StyleError, match=re.escape(told)) as refusal:
        Style.load(path)
    assert "\n" not in str(refusal.value)


def test_a_tensor_that_was_changed_is_noticed(path):
    whole().save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StyleError, match="content hash differs"):
        Style.load(path)


class Trap:
    """What unpickling it would leave behind is a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_reading_runs_no_code(path, tmp_path):
    sprung = pickle.dumps(Trap(tmp_path / "ran"))
    path.write_bytes(sprung)
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)
    torch.save({"image_embeds": Trap(tmp_path / "ran")}, path)
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(sprung)
    assert (tmp_path / "ran").exists(), "the trap does spring where it is unpickled"


def test_what_was_read_is_no_longer_the_file(path):
    style = Style.load(whole().save(path))
    before = style.image_embeds.clone()
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(bytes(1000))
    assert style.image_embeds.equal(before)
    assert all(half.any() for pair in style.bindings[0].layers.values() for half in pair)


def test_an_adapter_is_no_style(path):
    path.write_bytes(save({"image_proj.proj.weight": torch.zeros(3)}))
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)


def documented(heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    text = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def test_the_document_lists_every_field_and_every_tensor(path):
    own = {"format", "version", "sha256"}
    assert documented("Fields") == {*StyleMetadata.model_fields, *own}
    tensors = {
        re.sub(r"bound\.sdxl\..*\.(key|value)", r"bound.<family>.<layer>.\1", n)
        for n in style_tensors(cleaned(), False)
    }
    assert documented("Tensors") == tensors
    assert f"version {VERSION}" in DOCUMENT.read_text()
    assert f"`{FORMAT}`" in DOCUMENT.read_text()
    assert f"`{KEY}`" in DOCUMENT.read_text()
