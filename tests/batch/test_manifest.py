"""Manifests of every format become rows, or are refused with all their errors."""

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.batch import BatchRow, ManifestError, cross_product, parse_seeds, read_manifest
from instantstyle.batch.rows import plan_batches
from instantstyle.imaging.loading import file_sha256
from instantstyle.recipe import Recipe

from .stub_backend import make_rows

SEED = {"seed": 0}


@pytest.fixture(autouse=True)
def _images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs").mkdir()
    for name, colour in (("ink", "black"), ("neon", "magenta")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "refs" / f"{name}.png")


def write(folder, name: str, text: str):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


SAME = {
    "jobs.jsonl": '{"prompt": "a rocket", "style": "refs/ink.png", "content": ["a cat"], "seed": 3}\n\n'
    '{"prompt": "a crown", "style": ["refs/ink.png", "refs/neon.png"], "scale": 0.5}\n',
    "jobs.csv": "prompt,style,content,seed,scale\n"
    "a rocket,refs/ink.png,a cat,3,\n"
    "a crown,refs/ink.png; refs/neon.png,,,0.5\n",
    "jobs.yaml": "- prompt: a rocket\n  style: refs/ink.png\n  content: a cat\n  seed: 3\n"
    "- {prompt: a crown, references: [refs/ink.png, {name: refs/neon.png, weight: 1}], scale: 0.5}\n",
}


@pytest.mark.parametrize("name", SAME)
def test_all_formats_give_the_same_rows(tmp_path, name):
    rocket, crown = read_manifest(write(tmp_path, name, SAME[name]), SEED)
    assert (rocket.recipe.prompt, rocket.recipe.content, rocket.recipe.seed) == ("a rocket", ("a cat",), 3)
    assert (crown.recipe.seed, crown.recipe.scale) == (0, 0.5)
    assert [reference.sha256 for reference in crown.recipe.references] == [
        file_sha256(tmp_path / "refs" / name) for name in ("ink.png", "neon.png")
    ]


def test_defaults_apply_to_fields_that_a_row_leaves_out(tmp_path):
    path = write(tmp_path, "jobs.jsonl", '{"prompt": "a"}\n{"prompt": "b", "seed": 2}')
    rows = read_manifest(path, {"seed": 9, "num_inference_steps": 5})
    assert [(row.recipe.seed, row.recipe.num_inference_steps) for row in rows] == [(9, 5), (2, 5)]


def test_a_strength_of_less_than_one_step_is_refused_with_the_other_rows(tmp_path):
    row = '{"prompt": "a", "image": "refs/ink.png", "strength": 0.1}\n'
    with pytest.raises(ManifestError, match=r"line 1: strength 0.1 of 4 steps is less than one step"):
        read_manifest(write(tmp_path, "jobs.jsonl", row), {**SEED, "num_inference_steps": 4})


def test_the_recipe_of_an_image_can_be_a_row(tmp_path):
    recipe = Recipe(prompt="a", seed=2, scheduler="DDIMScheduler", versions={"torch": "2.6.0"})
    [row] = read_manifest(write(tmp_path, "jobs.jsonl", recipe.to_json()), SEED)
    assert row.recipe == recipe.replace(versions={})


def test_files_are_found_beside_the_manifest_from_any_folder(tmp_path, monkeypatch):
    path = write(tmp_path, "jobs.jsonl", '{"prompt": "a", "style": "refs/ink.png"}')
    [here] = read_manifest(path, SEED)
    monkeypatch.chdir("/")
    [there] = read_manifest(path, SEED)
    assert here.key == there.key


INVALID = """\
{"prompt": "fine"}
{"prompt": "a", "style": "refs/nowhere.png"}
{"prompt": "a", "sede": 3}
{"prompt":
["a"]
{"prompt": "a", "blocks": "stile", "style": "refs/ink.png"}
{"prompt": "a", "content": "a cat"}
{"prompt": "a", "model": "minni"}
{"prompt": "a", "style": {"name": "refs/ink.png", "sha256": "%s"}}
{"prompt": "a", "steps": 0, "height": 17}
""" % ("0" * 64)


def test_every_invalid_row_is_reported(tmp_path):
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path, "jobs.jsonl", INVALID), SEED)
    errors = caught.value.errors
    assert [error.partition(":")[0] for error in errors] == [f"line {n}" for n in range(2, 11)]
    for error, reason in zip(
        errors,
        [
            "nowhere.png does not exist",
            "no field sede (perhaps seed)",
            "not JSON",
            "not a mapping from fields of a recipe",
            "Did you mean style?",
            "there is none; add a reference",
            "Did you mean mini?",
            "another file than the one requested",
            "multiple of 8",
        ],
        strict=True,
    ):
        assert reason in error
    assert "9 of 10 rows are invalid; no image was generated" in caught.value.summary


def test_all_errors_of_a_row_are_reported_together(tmp_path):
    row = '{"prompt": "a", "style": ["one.png", "two.png"], "mask": "three.png", "scale": -1, "sede": 3}'
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path, "jobs.jsonl", row), SEED)
    [error] = caught.value.errors
    assert all(part in error for part in ("one.png", "two.png", "three.png", "scale is -1", "no field sede"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("jobs.txt", "a rocket", "should end in one of .jsonl, .csv, .yaml, .yml"),
        ("jobs.jsonl", "\n", "has no rows"),
        ("jobs.csv", "prompt,seed\na rocket\n", "line 2: it has 1 cells, and the header 2"),
        ("jobs.csv", "prompt,prompt\na,b\n", "has a column twice"),
        ("jobs.csv", 'prompt\n"a\n', "line 2"),
        ("jobs.csv", "prompt,blocks\na,{nonsense\n", "not JSON"),
        ("jobs.yaml", "prompt: a rocket", "should be a list"),
        ("jobs.yaml", "- {prompt: a", "is not YAML"),
        ("jobs.yaml", "- !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path, name, text, expected):
    with pytest.raises(JobError) as caught:
        read_manifest(write(tmp_path, name, text), SEED)
    assert expected in str(caught.value)


def test_a_missing_manifest_is_reported(tmp_path):
    with pytest.raises(JobError, match=r"jobs\.csv does not exist"):
        read_manifest(tmp_path / "jobs.csv")


def test_every_style_is_combined_with_every_prompt_and_seed(tmp_path):
    write(tmp_path / "refs", "contents.json", '{"ink.png": "a cat"}')
    rows = cross_product([tmp_path / "refs"], ["a rocket", "a crown"], [1, 2])
    assert len(rows) == len({row.key for row in rows}) == 8
    assert [row.recipe.content for row in rows] == [("a cat",)] * 4 + [()] * 4
    assert rows[0].location == "ink.png × 'a rocket' × seed 1"


def test_prompts_and_seeds_need_no_styles():
    assert [row.recipe.references for row in cross_product([], ["a"], [1, 2])] == [(), ()]


def test_seeds_are_a_range_or_a_list():
    assert (parse_seeds("1:4"), parse_seeds("5,1"), parse_seeds("7")) == ([1, 2, 3, 4], [5, 1], [7])


@pytest.mark.parametrize("text", ["", "a", "4:1", "1:2:3", "1:2,5", "1,", "1.5"])
def test_invalid_seeds_are_refused(text):
    with pytest.raises(JobError, match="give first:last"):
        parse_seeds(text)


def test_batches_are_grouped_by_model_and_settings():
    rows = [
        BatchRow(Recipe(prompt=str(place), seed=place, model=model, scale=scale))
        for place, (model, scale) in enumerate([("a", 1), ("b", 1), ("a", 0.5), ("a", 1), ("b", 1), ("a", 1)])
    ]
    batches = [[int(row.recipe.prompt) for row in batch] for batch in plan_batches(rows, 2)]
    assert batches == [[0, 3], [5], [2], [1, 4]]


def test_the_key_depends_on_the_recipe_and_the_file_name_on_the_prompt():
    one, other = make_rows(2)
    assert one.key != other.key
    assert one.file.startswith("thing-1-1-")
    assert BatchRow(one.recipe, "elsewhere").key == one.key
    strange = BatchRow(Recipe(prompt="../../etc/passwd\n火箭" * 30, seed=0)).file
    assert "/" not in strange
    assert len(strange.encode()) < 255


def test_keys_and_file_names_are_those_of_version_0_1():
    """A ledger finds its rows and its images by them."""
    references = [{"name": "/a/b/ink.png", "sha256": "0" * 64, "weight": 0.5}, {"name": "c.png"}]
    fields = {
        "references": references,
        "layout_references": [{"name": "plan"}],
        "negative_references": [{"name": "n.png"}],
        "mask": {"name": "x/m.png"},
        "image": {"name": "y/p.png", "weight": 2},
        "blocks": {"a.b": 0.5},
        "content": ["a cat"],
        "content_scale": "auto",
        "scale": 0.3,
        "guidance_interval": [0.2, 0.8],
        "dtype": "bfloat16",
    }
    rows = [
        BatchRow(Recipe.model_validate({"prompt": prompt, "seed": 3, **more}))
        for prompt, more in [("a rocket", {}), ("!!!", {}), ("a crown", fields)]
    ]
    assert [row.file for row in rows] == [
        "a-rocket-3-98a4d1d99e.png",
        "picture-3-75b68969bd.png",
        "a-crown-3-5fe8776cf9.png",
    ]
    assert rows[0].key == "98a4d1d99ee82c5272cb6cc7723057d9e896a4d84e7d204614b994891856ce58"
