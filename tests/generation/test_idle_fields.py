"""A field that has no effect in its request is refused before a model is loaded."""

import json

import pytest

from instantstyle.batch import read_manifest
from instantstyle.errors import JobError
from instantstyle.generation.generate import prepare
from instantstyle.generation.idle_fields import find_idle_fields, refuse_fields
from instantstyle.generation.request_checks import MAX_SEED, check_request, check_seeds
from instantstyle.generation.sources import SourceCache
from instantstyle.generation.sweep import Grid, sweep
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.generation.worker import ModelWorker
from instantstyle.recipe import Recipe

INK = {"name": "ink.png"}

IDLE = {
    "content": ["a cat"],
    "content_scale": 0.3,
    "removal": "project",
    "negative_references": ["ink.png"],
    "combine": "concat",
    "blocks": "all",
    "crop": "pad",
    "scale": 0.5,
    "mask": "ink.png",
    "start": 0.5,
    "end": 0.5,
    "strength": 0.5,
    "control": "canny",
}
"""Values of fields that act on a reference or on an image to start from."""


def make(**fields: object) -> Recipe:
    return Recipe.model_validate({"prompt": "a", "seed": 1, **fields})


@pytest.fixture
def folder(tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    return tmp_path


def read(folder, *rows, **defaults):
    path = folder / "jobs.jsonl"
    path.write_text("".join(json.dumps({"prompt": "a", **row}) + "\n" for row in rows))
    return [row.recipe for row in read_manifest(path, {"seed": 1, **defaults})]


def test_fields_act_on_references_layouts_or_an_image():
    style = {"content_scale": 0.3, "blocks": "all", "scale": 0.5, "end": 0.5}
    image = {"strength": 0.5, "control": "canny"}
    assert find_idle_fields(make(**style, **image)) == [*style, *image]
    assert find_idle_fields(make(**style, **image, layout_references=[INK])) == ["content_scale", "blocks", *image]
    assert find_idle_fields(make(**style, **image, references=[INK], image=INK)) == []
    # The image is a reference itself, in all blocks and at all steps.
    photo = {"crop": "pad", "hold_layout": 0.4, "scale": 0.5, "fuse": "adain", "start": 0.2}
    assert find_idle_fields(make(**photo, image=INK, image_scale=0.2)) == ["scale", "fuse", "start"]
    assert len(find_idle_fields(make(**photo, image=INK))) == len(photo)
    second = {"second_scale": 0.5, "second_image_encoder": "encoder"}
    assert find_idle_fields(make(**second)) == [*second][::-1]
    assert find_idle_fields(make(**second, second_adapter=INK)) == ["second_adapter", *[*second][::-1]]
    assert find_idle_fields(make(**second, second_adapter=INK, references=[INK])) == []
    # The image is resized to them.
    assert find_idle_fields(make(width=64, height=64, image=INK)) == []
    assert find_idle_fields(make(width=64, scale=1.0, start=0.0, blocks="style", control="none")) == []


@pytest.mark.parametrize("field", IDLE)
def test_a_row_with_a_field_without_effect_is_refused(folder, field):
    with pytest.raises(JobError, match=rf"{field} can only act on") as caught:
        read(folder, {}, {field: IDLE[field]})
    assert "1 of 2 rows are invalid" in str(caught.value)


def test_fields_of_an_animation_need_a_motion_adapter():
    fields = {"frames": 3, "fps": 12.0, "frame_weights": (0.0, 1.0)}
    with pytest.raises(JobError, match="frames and fps and frame_weights can only act on an animation, and there is"):
        make(**fields, references=[INK])
    animation = make(**fields, motion_adapter={"name": "motion"})
    assert find_idle_fields(animation) == ["frame_weights"]
    assert find_idle_fields(animation.replace(references=[INK])) == []
    with pytest.raises(JobError, match="image and colour_transfer cannot act on an animation"):
        make(motion_adapter={"name": "motion"}, image=INK, references=[INK], colour_transfer=0.5)


def test_a_row_chooses_its_scheduler_and_the_recipe_of_an_image_keeps_its_own(folder):
    assert read(folder, {"scheduler": "euler"})[0].scheduler == "euler"
    made = {"scheduler": "EulerDiscreteScheduler", "versions": {"torch": "2"}, "image": "ink.png", "width": 64}
    [recipe] = read(folder, made)
    assert (recipe.scheduler, recipe.width, recipe.versions) == ("EulerDiscreteScheduler", 64, {})


def test_a_default_must_act_in_some_row(folder):
    rows = read(folder, {}, {"style": "ink.png"}, scale=0.5)
    assert [recipe.scale for recipe in rows] == [0.5, 0.5]
    with pytest.raises(JobError, match=r"^scale can only act on"):
        read(folder, {}, {"prompt": "b"}, scale=0.5)


def test_in_a_sweep_a_field_must_act_in_some_cell():
    check_request(make(scale=0.5), make(scale=0.5, references=[INK]))
    with pytest.raises(JobError, match="scale can only act on"):
        check_request(make(scale=0.5), make(scale=0.6))


@pytest.fixture
def files(styled, folder, monkeypatch) -> SourceCache:
    """A folder with an image, its saved style and a saved blend of it."""
    monkeypatch.chdir(folder)
    styled.style("ink.png").save("ink.style.safetensors")
    styled.style("ink.png", texture="ink.png").save("blend.style.safetensors")
    return SourceCache()


SAVED, BLEND = {"name": "ink.style.safetensors"}, {"name": "blend.style.safetensors"}


def test_scales_of_a_blend_need_a_texture(files):
    scale = {"colour_scale": 0.5}
    for recipe in (make(**scale, references=[INK], texture_references=[INK]), make(**scale, references=[BLEND])):
        check_request(recipe, sources=files)
    for references in ([INK], [SAVED], [BLEND, INK]):
        with pytest.raises(JobError, match=r"^colour_scale can only act on a blend of colours and texture"):
            check_request(make(**scale, references=references), sources=files)
    plain = make(**scale, references=[INK])
    check_request(plain, plain.replace(texture_references=[INK]), sources=files)
    with pytest.raises(JobError, match="colour_scale can only act"):
        check_request(plain, plain.replace(colour_scale=None), make(**scale), sources=files)


def test_a_sweep_over_the_texture_has_a_column_without_one(files, styled):
    axes = SweepAxis.parse("texture=,ink.png"), SweepAxis.parse("colour_scale=0.5,1")
    grid = Grid(make(references=[INK], num_inference_steps=1, height=16, width=16), *axes)
    check_request(*grid.cells, sources=files)
    styles = [prepare(styled, recipe, files).style for recipe in grid.cells]
    assert [style and style.texture and style.texture.colour_scale for style in styles] == [None, 0.5, None, 1.0]
    sweep(styled, grid)


def test_crop_acts_on_images_alone(files):
    pad = {"crop": "pad"}
    for fields in ({"references": [INK]}, {"references": [SAVED], "layout_references": [INK]}):
        check_request(make(**pad, **fields), sources=files)
    check_request(make(**pad, references=[SAVED], image=INK, image_scale=0.2), sources=files)
    for fields in ({}, {"content_references": [INK]}, {"image": INK}):
        with pytest.raises(JobError, match=r"^crop can only act on images, and all references are saved styles"):
            check_request(make(**pad, references=[SAVED], **fields), sources=files)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"references": [INK, SAVED], "combine": "concat"}, r"^combine concat is for images, and .* is a saved style"),
        (
            {"references": [SAVED, INK], "combine": "subtract"},
            r"^combine subtract is for images, and .* is a saved style",
        ),
        (
            {"references": [INK, INK], "combine": "concat", "negative_references": [INK]},
            r"^negative_references have the tokens of one image, and by combine concat the style has those of 2",
        ),
        (
            {"references": [INK, {**INK, "weight": 2}], "combine": "concat"},
            r"^The weight 2 of .* in references cannot act: combine concat has the tokens of all images side by side",
        ),
        (
            {"references": [INK], "content": ["a cat"], "mask_quantile": 0.5},
            r"^mask_quantile acts on removal mask only, and removal is not set; set it to mask\.$",
        ),
        (
            {"references": [INK], "content": ["a cat"], "content_scale": "auto", "removal": "mask"},
            r"content_scale 'auto' is for removal 'subtract' and 'project', and removal is 'mask'",
        ),
    ],
)
def test_references_that_cannot_be_combined_so_are_refused_without_a_model(files, fields, message):
    with pytest.raises(JobError, match=message):
        check_request(make(**fields), sources=files)


def test_references_that_can_be_combined_so_are_accepted(files):
    for fields in (
        {"references": [INK, SAVED]},
        {"references": [INK, INK], "combine": "concat", "negative_references": [SAVED]},
        {"references": [{**INK, "weight": 2}] * 2, "combine": "concat"},
        {"references": [INK], "content": ["a cat"], "mask_quantile": 0.5, "removal": "mask"},
    ):
        check_request(make(**fields), sources=files)


def test_a_colour_transfer_needs_an_image(files):
    transfer = {"colour_transfer": 0.5}
    check_request(make(**transfer, references=[INK]), sources=files)
    with pytest.raises(
        JobError, match=r"^colour_transfer takes the colours of an image, and .* is a saved style; give"
    ):
        check_request(make(**transfer, references=[SAVED]), sources=files)
    # One cell of a sweep would be refused after others are generated.
    with pytest.raises(JobError, match=r"^colour_transfer takes the colours of an image"):
        check_request(*(make(**transfer, references=[file]) for file in (INK, SAVED)), sources=files)
    with pytest.raises(JobError, match=r"^colour_transfer can only act with the colours of an image, and there"):
        check_request(make(**transfer), sources=files)
    own = {"colour_image": INK}
    for references in ([], [SAVED], [INK, SAVED]):
        check_request(make(**transfer, **own, references=references), sources=files)
    with pytest.raises(JobError, match=r"^colour_image can only act with colour_transfer, which is not set; add it"):
        check_request(make(**own, references=[INK]), sources=files)
    check_request(*(make(**transfer, **each) for each in (own, {"references": [INK]})), sources=files)


def test_a_second_adapter_needs_a_reference(folder):
    second = {"second_adapter": {"name": "plus.safetensors"}}
    message = "^second_adapter and second_image_encoder can only act on the style of a reference, and there is none"
    with pytest.raises(JobError, match=message):
        check_request(make(**second, second_image_encoder="encoder"))
    # One cell of a sweep has a reference.
    check_request(make(**second), make(**second, references=[INK]))
    for field in ("references", "second_references"):
        check_request(make(**second, **{field: [INK]}))
    (folder / "plus.safetensors").write_bytes(b"a")
    with pytest.raises(JobError, match="second_adapter can only act on the style of a reference"):
        read(folder, {"second_adapter": "plus.safetensors"})
    # Without effect in all rows of a batch, as a default of which there is none to tell.
    with pytest.raises(JobError, match="second_adapter can only act on the style of a reference"):
        refuse_fields({"second_adapter"})


def test_a_combination_needs_several_references(folder):
    two = [INK, INK]
    message = r"^combine can only act on several references, and there is one or none; add another reference"
    for fields in ({}, {"references": [INK]}, {"references": [INK], "layout_references": two}):
        with pytest.raises(JobError, match=message):
            check_request(make(combine="concat", **fields))
    check_request(make(combine="concat", references=two), make(combine="concat", references=[INK]))
    check_request(make(combine="average", references=[INK]))
    with pytest.raises(JobError, match="combine can only act on several references"):
        read(folder, {"style": "ink.png", "combine": "concat"})


def test_settings_of_the_second_adapter_need_references():
    second = {"second_adapter": {"name": "plus.safetensors"}, "second_scale": 0.5, "second_blocks": "style"}
    for fields in ({"references": [INK]}, {"second_references": [INK]}):
        check_request(make(**second, **fields))
    with pytest.raises(JobError, match="second_blocks and second_scale can only act on the style of a reference"):
        check_request(make(**second))


def test_seeds_that_would_pass_the_largest_are_refused_before_an_image_is_drawn(styled):
    recipe = make(seed=MAX_SEED - 1, num_inference_steps=1)
    check_seeds(recipe, 2)
    events = []
    worker = ModelWorker(styled)
    with pytest.raises(JobError, match=rf"each of 3 images has the next one; the largest is {MAX_SEED}"):
        worker.generate([recipe], events.append, count=3)
    worker.close()
    assert events == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"references": [{"name": "ink.png", "weight": 0}]}, "references need a weight above 0"),
        ({"content": ["  "]}, "content.0 is ' ', should have words"),
        ({"content": ["\n"]}, "should have words"),
    ],
)
def test_what_no_model_can_draw_is_no_recipe(fields, reason):
    with pytest.raises(JobError, match=reason):
        make(**{"references": [INK], **fields})
