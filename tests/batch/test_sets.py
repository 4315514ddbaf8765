"""Rows that name a set share the attention of its first row, and are generated without each other."""

import json
from typing import Any

import pytest

from instantstyle import JobError
from instantstyle.batch import read_manifest
from instantstyle.batch.manifest import ManifestError, cross_product
from instantstyle.batch.rows import BatchRow, plan_batches
from instantstyle.recipe import Recipe


@pytest.fixture
def read(tmp_path):
    def read(*rows: dict[str, Any], **defaults: Any) -> list[Recipe]:
        path = tmp_path / "jobs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [row.recipe for row in read_manifest(path, {"seed": 1, **defaults})]

    return read


def test_a_set_shares_the_attention_of_its_first_row(read):
    rows = [{"prompt": "a cat", "set": "x"}, {"prompt": "a mat"}, {"prompt": "a fish", "seed": 5, "set": "x"}]
    rows += [{"prompt": "a dog", "set": 2, "seed": 9, "shared": "swap"}, {"prompt": "b", "set": 2, "shared": "swap"}]
    found = [(each.shared, each.first_prompt, each.first_seed) for each in read(*rows)]
    first, second = ("align", "a cat", 1), ("swap", "a dog", 9)
    assert found == [first, (None, None, None), first, second, second]


def test_a_csv_names_sets_too(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("prompt,seed,set\na cat,3,x\na fish,4,x\n")
    assert [(row.recipe.first_prompt, row.recipe.first_seed) for row in read_manifest(path)] == [("a cat", 3)] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"set": "x"}], "set 'x' has one row"),
        ([{"set": ["x"]}, {"set": ["x"]}], r"set is \['x'\]; give all rows"),
        ([{"set": "x"}, {"set": "x", "steps": 3}], "steps differ from the first row of set 'x'"),
        ([{"set": "x"}, {"set": "x", "first_seed": 3}], "set names the first image, which first_seed would too"),
        ([{"shared": "align"}] * 2, 'give all of them one name as "set", such as a, or leave shared out'),
        ([{"first_prompt": "a", "first_seed": 1}], "can only act with shared"),
        ([{"set": "x", "hold_layout": 0.5}] * 2, "both change self-attention"),
    ],
)
def test_a_set_that_is_none_is_refused(read, rows, message):
    with pytest.raises(ManifestError, match=message):
        read(*({"prompt": "a", **row} for row in rows))


def test_rows_that_differ_in_the_seed_of_an_inversion_are_refused(read, reference, tmp_path):
    reference.save(tmp_path / "photo.png")
    row = {"prompt": "a", "image": "photo.png", "inversion": 1}
    assert len(read(row, {**row, "inversion": 2, "seed": 2})) == 2
    with pytest.raises(JobError, match=r"line 1 and line 3 of .* differ in their seed alone"):
        read(row, {**row, "inversion": 2}, {**row, "seed": 2})


def test_combinations_share_attention_by_style():
    rows = cross_product((), ["a", "b"], [1, 2], {"shared": "swap"})
    assert {(row.recipe.shared, row.recipe.first_prompt, row.recipe.first_seed) for row in rows} == {("swap", "a", 1)}


def test_one_combination_for_each_style_has_nothing_to_share():
    with pytest.raises(JobError, match="each style has one image; give several prompts or seeds"):
        cross_product((), ["a"], [1], {"shared": "align"})


def test_images_beside_others_count_in_the_size_of_a_batch():
    def sizes(**fields: Any) -> list[int]:
        recipes = [Recipe.model_validate({"prompt": "a", "seed": seed, **fields}) for seed in range(4)]
        return [len(batch) for batch in plan_batches([BatchRow(recipe) for recipe in recipes], 4)]

    ink = {"references": [{"name": "ink.png"}]}
    assert sizes(**ink) == [4]
    assert sizes(**ink, hold_layout=0.5) == [2, 2]
    assert sizes(shared="align", first_prompt="a", first_seed=0) == [1, 1, 1, 1]
