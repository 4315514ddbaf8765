"""Style files load completely or raise an error of one line, whatever bytes they hold."""

import json
import pickle
import re
from dataclasses import replace
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
from instantstyle.core.colour_texture import Texture
from instantstyle.core.style_contents import StyleMetadata
from instantstyle.core.style_file import (
    FORMAT,
    KEY,
    VERSIONS,
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


def make_bound(seed: int = 0, family: str = "sdxl", adapter: str = "a" * 16, layers=(LAYER,)) -> BoundKeyValues:
    return BoundKeyValues(family, adapter, make_pairs(seed, layers))


def make_pairs(seed: int, layers=(LAYER,)):
    return {
        name: (
            torch.randn(2, 4, 8, generator=seeded_generator(seed)),
            torch.randn(2, 4, 8, generator=seeded_generator(seed + 99)),
        )
        for name in layers
    }


def cleaned_style() -> Style:
    """Make a bound style with the shifts of token cleaning."""
    bound = BoundKeyValues("sdxl", "a" * 16, make_pairs(0), make_pairs(5))
    return complete_style(removal="clean", content_scale=1.0, bindings=(bound,))


def blended_style() -> Style:
    """Make a style with everything that version 2 added."""
    grey, texture = (torch.randn(2, 6, generator=seeded_generator(seed)) for seed in (3, 4))
    parts = {"removal": "mask", "mask_quantile": 0.9, "content_kinds": ("image",), "grey_embeds": grey}
    return complete_style(**parts, texture=Texture(texture, (1.0, 3.0), "waves.png", 0.5, 0.25))


def complete_style(**changes) -> Style:
    """Make a style with every field and tensor that a file can hold."""
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
        "bindings": (make_bound(),),
    }
    return Style(**{**parts, **changes})


def are_equal(one: Style, other: Style) -> bool:
    tensors = [style_tensors(style, exact=True) for style in (one, other)]
    return style_metadata(one) == style_metadata(other) and all(
        tensors[0].keys() == tensors[1].keys() and tensors[0][name].equal(tensors[1][name]) for name in tensors[0]
    )


def rewrite(path: Path, change) -> None:
    """Change fields and tensors of a file, and correct its content hash."""
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
    return complete_style().save(tmp_path_factory.mktemp("style") / "ink.style.safetensors").read_bytes()


def test_a_style_is_loaded_exactly_as_saved(path):
    assert are_equal(Style.load(complete_style().save(path, exact=True)), complete_style())


def test_a_cleaned_style_is_loaded_exactly_as_saved(path):
    assert are_equal(Style.load(cleaned_style().save(path, exact=True)), cleaned_style())


def test_a_blend_is_loaded_exactly_as_saved_and_can_be_tuned(path):
    loaded, saved = Style.load(blended_style().save(path, exact=True)), blended_style()
    assert are_equal(loaded, saved)
    assert loaded.embedding().equal(saved.embedding())
    tuned = loaded.with_blend(texture_scale=2.0).with_removal(0.1)
    assert tuned.embedding().equal(saved.with_blend(texture_scale=2.0).with_removal(0.1).embedding())


def test_a_style_is_written_in_the_first_version_that_holds_all_of_it(path):
    """Earlier releases read as many files as they can, and refuse the others by version."""
    grey = torch.ones(2, 6)
    pictures = {"image_embeds": torch.ones(1, 3, 6), "unconditional": torch.zeros(3, 6), "weights": (1.0,)}
    versions = {
        "plain": complete_style(),
        "clean": cleaned_style(),
        "blend": blended_style(),
        "mask_quantile": complete_style(removal="mask", mask_quantile=0.9),
        "content_kinds": complete_style(content_kinds=("image",)),
        "grey_embeds": complete_style(grey_embeds=grey),
        "cleanstyle": complete_style(removal="cleanstyle"),
        "subtract": complete_style(combine="subtract"),
        "picture's features": complete_style(**pictures, removal="subtract", content_embeds=torch.ones(1, 3, 6)),
    }
    found = {}
    for name, style in versions.items():
        fields = json.loads(json.loads(header(style.save(path, force=True)))["__metadata__"][KEY])
        found[name] = fields["version"]
        assert Style.load(path).embedding().equal(style.embedding()), name
    assert found == {name: 1 if name in ("plain", "clean") else 2 for name in versions}


def header(path: Path) -> bytes:
    """Return the JSON text before the tensors of a safetensors file."""
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_an_incomplete_cleaned_style_raises_an_error(path, change, message):
    rewrite(cleaned_style().save(path), change)
    with pytest.raises(StyleError, match=message):
        Style.load(path)


def test_keys_and_values_are_stored_in_float16_unless_exact(path):
    loaded = Style.load(complete_style().save(path)).bindings[0].layers[LAYER]
    for found, made in zip(loaded, make_bound().layers[LAYER], strict=True):
        assert found.dtype == torch.float16
        assert found.equal(made.half())


def test_removal_and_weights_of_a_loaded_style_can_be_changed(path):
    found = Style.load(complete_style().save(path))
    assert_close(
        found.with_removal(0.1, "subtract").embedding(), complete_style().with_removal(0.1, "subtract").embedding()
    )
    assert_close(found.with_weights([1, 3]).embedding(), complete_style(weights=(1.0, 3.0)).embedding())


def test_a_changed_style_is_no_longer_bound(path):
    found = Style.load(complete_style().save(path))
    assert found.with_removal(found.content_scale, found.removal).bindings == found.bindings
    assert found.with_removal(0.1).bindings == found.with_weights([1, 3]).bindings == ()


def test_a_style_can_be_saved_without_its_embeddings(path):
    found = Style.load(complete_style().bound_only().save(path, exact=True))
    assert are_equal(found, complete_style().bound_only())
    with pytest.raises(StyleError, match="bound only"):
        found.with_removal(0.1)
    with pytest.raises(StyleError, match="bound only"):
        found.embedding()


def test_equal_styles_give_equal_bytes(tmp_path):
    files = [complete_style().save(tmp_path / f"{position}.style.safetensors") for position in range(8)]
    assert len({file.read_bytes() for file in files}) == 1


def test_an_existing_file_is_replaced_only_if_forced(path):
    complete_style().save(path)
    with pytest.raises(JobError, match="exists already"):
        complete_style().save(path)
    complete_style(name="other").save(path, force=True)
    assert Style.load(path).name == "other"


def test_another_suffix_raises_an_error(tmp_path):
    with pytest.raises(JobError, match=r"should end in \.style\.safetensors"):
        complete_style().save(tmp_path / "ink.safetensors")


def test_keys_too_large_for_float16_require_exact(path):
    large = torch.full((2, 4, 8), 1e6)
    huge = BoundKeyValues("sdxl", "a" * 16, {LAYER: (large, large)})
    with pytest.raises(StyleError, match="exact=True"):
        complete_style(bindings=(huge,)).save(path)
    assert (
        Style.load(complete_style(bindings=(huge,)).save(path, exact=True)).bindings[0].layers[LAYER][0].max() == 1e6
    )


def test_a_style_bound_for_sdxls_style_block_has_at_most_half_a_megabyte(path):
    """Shapes are those of SDXL: ten layers, key and value for both rows, four tokens of width 1280, in float16."""
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
def test_a_damaged_file_raises_an_error_or_loads_unchanged(tmp_path_factory, data, share, byte):
    """The file is truncated, or one of its bytes differs."""
    position = int(share * len(data))
    damaged = data[:position] if byte is None else data[:position] + bytes([byte]) + data[position + 1 :]
    path = tmp_path_factory.getbasetemp() / "damaged.style.safetensors"
    path.write_bytes(damaged)
    try:
        found = Style.load(path)
    except StyleError as error:
        message = str(error)
    else:
        path.write_bytes(data)
        assert are_equal(found, Style.load(path))
        return
    assert str(path) in message
    assert "\n" not in message


@given(content=st.binary(max_size=300), length=st.none() | st.integers(0, 400))
@settings(deadline=None)
def test_arbitrary_bytes_raise_an_error_in_one_line(tmp_path_factory, content, length):
    path = tmp_path_factory.getbasetemp() / "any.style.safetensors"
    path.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    with pytest.raises(StyleError, match=re.escape(str(path))):
        Style.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields, _: fields.update(version=3), "version 3; this release reads version 1 and 2"),
        (lambda fields, _: fields.update(format="paint"), "has not the format 'instantstyle style'"),
        (lambda fields, _: fields.update(combine="median"), "combine: Input should be"),
        (lambda fields, _: fields.update(mood="good"), "mood: Extra inputs"),
        (lambda fields, _: fields.pop("content_scale"), "content_scale: Field required"),
        (lambda fields, _: fields.update(weights=[1]), "1 weights for image_embeds"),
        (lambda fields, _: fields.update(weights=[0, 0]), "not all 0"),
        (lambda fields, _: fields.update(weights=[1, float("inf")]), "weights.1: Input should be a finite number"),
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
def test_invalid_fields_and_tensors_raise_an_error_despite_a_correct_hash(path, change, message):
    rewrite(complete_style().save(path), change)
    with pytest.raises(StyleError, match=re.escape(message)) as refusal:
        Style.load(path)
    assert "\n" not in str(refusal.value)


def test_a_changed_tensor_raises_an_error(path):
    complete_style().save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StyleError, match="content hash differs"):
        Style.load(path)


class CreatesFile:
    """An object whose unpickling creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_loading_runs_no_code(path, tmp_path):
    pickled = pickle.dumps(CreatesFile(tmp_path / "ran"))
    path.write_bytes(pickled)
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)
    torch.save({"image_embeds": CreatesFile(tmp_path / "ran")}, path)
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickled)
    assert (tmp_path / "ran").exists(), "unpickling the object creates the file"


def test_tensors_of_a_loaded_style_do_not_map_the_file(path):
    style = Style.load(complete_style().save(path))
    before = style.image_embeds.clone()
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(bytes(1000))
    assert style.image_embeds.equal(before)
    assert all(half.any() for pair in style.bindings[0].layers.values() for half in pair)


def test_an_adapter_is_not_a_style_file(path):
    path.write_bytes(save({"image_proj.proj.weight": torch.zeros(3)}))
    with pytest.raises(StyleError, match="not a complete style file"):
        Style.load(path)


def timed_style() -> Style:
    """Return a style whose keys and values change with the step, of two tokens at three steps."""
    pair = torch.ones(2, 6, 8), torch.ones(2, 6, 8)
    layer = "transformer_blocks.1.attn"
    bound = BoundKeyValues("sd35-large", "", {layer: pair}, {}, (1000.0, 500.5, 1.0), {layer: torch.ones(2, 4)})
    return replace(blended_style(), bindings=(bound,))


def test_a_style_of_several_steps_keeps_them(path):
    style = timed_style()
    style.save(path)
    [binding] = Style.load(path).bindings
    [norms] = binding.norms.values()
    assert (binding.timesteps, norms.shape, binding.size) == ((1000.0, 500.5, 1.0), (2, 4), 2 * 96 * 2 + 8 * 4)
    [bound] = style.bindings
    for wrong, message in (
        (replace(bound, norms={}), "timesteps and norms of sd35-large go together"),
        (replace(bound, timesteps=()), "timesteps and norms of sd35-large go together"),
        (replace(bound, timesteps=(1.0, 2.0, 3.0, 4.0)), "other numbers of tokens than 4 timesteps"),
    ):
        style.with_binding(wrong).save(path, force=True)
        with pytest.raises(StyleError, match=message):
            Style.load(path)


def documented_names(heading: str) -> set[str]:
    """Return the names in the first column of the table below a heading."""
    text = DOCUMENT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def test_the_documentation_lists_every_field_and_tensor(path):
    own = {"format", "version", "sha256"}
    assert documented_names("Fields") == {*StyleMetadata.model_fields, *own}
    tensors = {
        re.sub(r"bound\.[^.]+\..*\.(key|value|norms)", r"bound.<family>.<layer>.\1", n)
        for style in (cleaned_style(), blended_style(), timed_style())
        for n in style_tensors(style, False)
    }
    assert documented_names("Tensors") == tensors
    assert all(f"version {version}" in DOCUMENT.read_text() for version in VERSIONS)
    assert f"`{FORMAT}`" in DOCUMENT.read_text()
    assert f"`{KEY}`" in DOCUMENT.read_text()
