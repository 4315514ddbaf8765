"""A manifest becomes rows, whatever it is written in, or is refused with all that is wrong with it."""

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.batch import BatchRow, Refused, crossed, manifest, seeds_of
from instantstyle.batch.rows import planned
from instantstyle.imaging.loading import file_sha256
from instantstyle.recipe import Recipe

from .stand_in import rows_of

SEED = {"seed": 0}


@pytest.fixture(autouse=True)
def _pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs").mkdir()
    for name, colour in (("ink", "black"), ("neon", "magenta")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "refs" / f"{name}.png")


def written(folder, name: str, text: str):
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
def test_all_ways_of_writing_mean_the_same(tmp_path, name):
    rocket, crown = manifest(written(tmp_path, name, SAME[name]), SEED)
    assert (rocket.recipe.prompt, rocket.recipe.content, rocket.recipe.seed) == ("a rocket", ("a cat",), 3)
    assert (crown.recipe.seed, crown.recipe.scale) == (0, 0.5)
    assert [reference.sha256 for reference in crown.recipe.references] == [
        file_sha256(tmp_path / "refs" / name) for name in ("ink.png", "neon.png")
    ]


def test_options_hold_where_a_row_says_nothing(tmp_path):
    path = written(tmp_path, "jobs.jsonl", '{"prompt": "a"}\n{"prompt": "b", "seed": 2}')
    rows = manifest(path, {"seed": 9, "num_inference_steps": 5})
    assert [(row.recipe.seed, row.recipe.num_inference_steps) for row in rows] == [(9, 5), (2, 5)]


def test_the_recipe_of_a_picture_can_be_a_row(tmp_path):
    recipe = Recipe(prompt="a", seed=2, scheduler="DDIMScheduler", versions={"torch": "2.6.0"})
    [row] = manifest(written(tmp_path, "jobs.jsonl", recipe.to_json()), SEED)
    assert row.recipe == Recipe(prompt="a", seed=2)


def test_files_lie_beside_the_manifest_wherever_we_are(tmp_path, monkeypatch):
    path = written(tmp_path, "jobs.jsonl", '{"prompt": "a", "style": "refs/ink.png"}')
    [here] = manifest(path, SEED)
    monkeypatch.chdir("/")
    [there] = manifest(path, SEED)
    assert here.key == there.key


FAULTY = """\
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


def test_every_faulty_row_is_named_with_all_its_faults(tmp_path):
    with pytest.raises(Refused) as refused:
        manifest(written(tmp_path, "jobs.jsonl", FAULTY), SEED)
    told = refused.value.faults
    assert [fault.partition(":")[0] for fault in told] == [f"line {n}" for n in range(2, 11)]
    for fault, reason in zip(
        told,
        [
            "nowhere.png does not exist",
            "no field sede (perhaps seed)",
            "not JSON",
            "not fields of a recipe",
            "Did you mean style?",
            "there is none; add a style",
            "Did you mean mini?",
            "another file than the one asked for",
            "multiple of 8",
        ],
        strict=True,
    ):
        assert reason in fault
    assert "9 of 10 rows are faulty; nothing was drawn" in refused.value.summary


def test_all_that_is_wrong_with_a_row_is_told_at_once(tmp_path):
    row = '{"prompt": "a", "style": ["one.png", "two.png"], "mask": "three.png", "scale": -1, "sede": 3}'
    with pytest.raises(Refused) as refused:
        manifest(written(tmp_path, "jobs.jsonl", row), SEED)
    [told] = refused.value.faults
    assert all(part in told for part in ("one.png", "two.png", "three.png", "scale is -1", "no field sede"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("jobs.txt", "a rocket", "should end in one of .jsonl, .csv, .yaml, .yml"),
        ("jobs.jsonl", "\n", "has no rows"),
        ("jobs.csv", "prompt,seed\na rocket\n", "line 2: it has 1 cells, and the header 2"),
        ("jobs.csv", "prompt,prompt\na,b\n", "names a column twice"),
        ("jobs.csv", 'prompt\n"a\n', "line 2"),
        ("jobs.csv", "prompt,blocks\na,{nonsense\n", "not JSON"),
        ("jobs.yaml", "prompt: a rocket", "should be a list"),
        ("jobs.yaml", "- {prompt: a", "is not YAML"),
        ("jobs.yaml", "- !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(tmp_path, name, text, told):
    with pytest.raises(JobError) as refused:
        manifest(written(tmp_path, name, text), SEED)
    assert told in str(refused.value)


def test_a_manifest_that_is_not_there_is_told(tmp_path):
    with pytest.raises(JobError, match=r"jobs\.csv does not exist"):
        manifest(tmp_path / "jobs.csv")


def test_every_style_meets_every_prompt_and_seed(tmp_path):
    written(tmp_path / "refs", "contents.json", '{"ink.png": "a cat"}')
    rows = crossed([tmp_path / "refs"], ["a rocket", "a crown"], [1, 2])
    assert len(rows) == len({row.key for row in rows}) == 8
    assert [row.recipe.content for row in rows] == [("a cat",)] * 4 + [()] * 4
    assert rows[0].place == "ink.png × 'a rocket' × seed 1"


def test_prompts_and_seeds_need_no_styles():
    assert [row.recipe.references for row in crossed([], ["a"], [1, 2])] == [(), ()]


def test_seeds_are_a_range_or_a_list():
    assert (seeds_of("1:4"), seeds_of("5,1"), seeds_of("7")) == ([1, 2, 3, 4], [5, 1], [7])


@pytest.mark.parametrize("text", ["", "a", "4:1", "1:2:3", "1:2,5", "1,", "1.5"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(JobError, match="give first:last"):
        seeds_of(text)


def test_rows_lie_together_by_model_and_by_style():
    rows = [
        BatchRow(Recipe(prompt=str(place), seed=place, model=model, scale=scale))
        for place, (model, scale) in enumerate([("a", 1), ("b", 1), ("a", 0.5), ("a", 1), ("b", 1), ("a", 1)])
    ]
    batches = [[int(row.recipe.prompt) for row in batch] for batch in planned(rows, 2)]
    assert batches == [[0, 3], [5], [2], [1, 4]]


def test_a_row_is_known_by_what_it_is_made_of_and_named_by_what_it_shows():
    one, other = rows_of(2)
    assert one.key != other.key
    assert one.file.startswith("thing-1-1-")
    assert BatchRow(one.recipe, "elsewhere").key == one.key
    strange = BatchRow(Recipe(prompt="../../etc/passwd\n火箭" * 30, seed=0)).file
    assert "/" not in strange
    assert len(strange.encode()) < 255
