"""Manifests from anywhere: rows end where they end, and hostile ones are refused soon, in short lines with the row."""

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from instantstyle import JobError
from instantstyle.batch import ManifestError, cross_product, parse_seeds, read_manifest
from instantstyle.batch.manifest_formats import read_rows

SEED = {"seed": 0}

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""Characters at which `str.splitlines` ends a line, and a row does not end."""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_row_ends_at_a_line_feed_and_nowhere_else(tmp_path, separator, end):
    prompt = f"a rocket{separator}on mars"
    texts = {
        "jobs.csv": f"prompt,seed{end}{prompt},1{end}b,2{end}",
        "jobs.jsonl": json.dumps({"prompt": prompt, "seed": 1}, ensure_ascii=False) + f'{end}{{"prompt":"b"}}{end}',
    }
    # JSON forbids control characters in strings unless they are escaped.
    if separator < " ":
        texts["jobs.jsonl"] = json.dumps({"prompt": prompt, "seed": 1}) + f'{end}{{"prompt":"b"}}{end}'
    for name, text in texts.items():
        rows = read_manifest(write(tmp_path, name, text), SEED)
        assert [row.recipe.prompt for row in rows] == [prompt, "b"], name


def test_a_quoted_cell_keeps_its_line_breaks(tmp_path):
    [row, other] = read_manifest(write(tmp_path, "jobs.csv", 'prompt\r\n"a\nrocket\r\non\rmars"\r\nb\r\n'), SEED)
    assert (row.recipe.prompt, other.recipe.prompt) == ("a\nrocket\r\non\rmars", "b")


def test_a_carriage_return_outside_quotes_is_refused_with_its_line(tmp_path):
    with pytest.raises(JobError, match=r"jobs\.csv, line 2: new-line character seen in unquoted field"):
        read_manifest(write(tmp_path, "jobs.csv", "prompt\na\rb\n"), SEED)


def bomb(first: str, item: str) -> str:
    """Nine aliases, each ten times the one before: 10⁹ values in 500 bytes."""
    lines = [item.format(anchor="&a0", value=first)]
    lines += [item.format(anchor=f"&a{n}", value=f"[{','.join([f'*a{n - 1}'] * 10)}]") for n in range(1, 10)]
    return "\n".join(lines)


BOMBS = {
    "rows": bomb("[l]", "- {anchor} {value}"),
    "field": bomb("[l]", "- {{prompt: {anchor} {value}}}"),
    "content": bomb("[l]", "- {{prompt: x, content: {anchor} {value}}}"),
    "blocks": bomb("{a: 1}", "- {{prompt: x, blocks: {anchor} {value}}}"),
    "merge": "- &a0 {a: 1}\n" + "\n".join(f"- &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_aliases_is_refused_within_a_second_and_100_mb(tmp_path, name):
    path = write(tmp_path, "jobs.yaml", BOMBS[name])
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(JobError, match=r"repeats more than 200,000 values by aliases \(line \d+\)") as caught:
            read_manifest(path, SEED)
        seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (seconds < 1, peak < 100e6, len(str(caught.value)) < 400) == (True, True, True), (seconds, peak)


def test_aliases_and_merged_defaults_are_values_like_others(tmp_path):
    text = "- &first {prompt: a, scale: 0.5, content: &words [x, y]}\n- {<<: *first, prompt: b}\n- {prompt: *c, k: 1}"
    text = text.replace("*c, k: 1", "c, content: *words, style: s.png").replace("style: s.png", "negative_prompt: n")
    rows = read_rows(write(tmp_path, "jobs.yaml", text))
    assert [dict(row.fields) for row in rows] == [
        {"prompt": "a", "scale": 0.5, "content": ["x", "y"]},
        {"prompt": "b", "scale": 0.5, "content": ["x", "y"]},
        {"prompt": "c", "content": ["x", "y"], "negative_prompt": "n"},
    ]


def test_scalars_of_yaml_are_read_as_in_version_1_2(tmp_path):
    row = "{a: no, b: On, c: 0x1F, d: 1_000, e: 0, f: -5, g: .5, h: 1.5e-3, i: '010', j: 10:20.5, k: ~, l: 1.0}"
    [read] = read_rows(write(tmp_path, "jobs.yaml", f"- {row}\n"))
    assert list(read.fields.values()) == [
        "no",
        "On",
        31,
        1000,
        0,
        -5,
        0.5,
        0.0015,
        "010",
        "10:20.5",
        None,
        1.0,
    ]


def test_a_merged_mapping_may_be_changed_but_has_each_name_once(tmp_path):
    text = "- &first {prompt: a, scale: 0.5}\n- {<<: *first, scale: 0.6}\n- {<<: *first, <<: *first}\n"
    rows = read_rows(write(tmp_path, "jobs.yaml", text))
    assert [row.fields.get("scale") for row in rows] == [0.5, 0.6, None]
    assert "it has '<<' twice" in str(rows[2].error)


def test_a_name_twice_in_json_is_refused_in_lines_and_cells(tmp_path):
    lines = '{"prompt": "a", "prompt": "b"}\n{"prompt": "a", "blocks": {"style": 1, "style": 0}}\n'
    rows = read_rows(write(tmp_path, "jobs.jsonl", lines))
    cells = read_rows(write(tmp_path, "jobs.csv", 'prompt,blocks\na,"{""style"": 1, ""style"": 0}"\n'))
    assert [row.error for row in [*rows, *cells]] == [
        f"it has '{name}' twice; keep one of them." for name in ("prompt", "style", "style")
    ]


ROWS_OF_YAML = [
    ("seed: " + "1" * 5000, "4300 digits"),
    ("seed: 0x" + "f" * 5000, "has more than 64 bits"),
    ("seed: 2020-13-45", "month must be in 1..12"),
    ("seed: !!timestamp abc", "is not YAML"),
    ("seed: !!int abc", "is not YAML"),
    ("seed: !!bool abc", "is not YAML"),
    ("seed: !!binary abc", "is not YAML"),
    # Text, as in YAML 1.2; a number of base 60 in YAML 1.1.
    ("scale: " + ":".join(["59"] * 200) + ".5", "should be a valid number"),
    ("seed: 1:30", "seed is '1:30', should be a valid integer"),
    ("seed: !!int 1:30", "is no number in YAML 1.2"),
    ("seed: 010", "'010' is octal in YAML 1.1 and decimal in YAML 1.2"),
    ("height: -0_10", "is octal in YAML 1.1"),
    ("seed: 0b11", "seed is '0b11', should be a valid integer"),
    ("seed: yes", "seed is 'yes', should be a valid integer"),
    ("seed: true", "seed is True, which is a boolean"),
    ("blocks: {style: true}", "blocks.style is True, which is a boolean"),
    ("scale: 0.5\n  scale: 0.6", "it has 'scale' twice; keep one of them"),
    ('scale: 0.5\n  "scale": 0.6', "it has 'scale' twice; keep one of them"),
    ("blocks: {style: 1, style: 0.5}", "it has 'style' twice"),
    ("scale: .inf", "should be a finite number"),
    ("content: !!binary YQBi", "is not text"),
    ("? [a]\n  : b", "unhashable"),
    ("negative_prompt: " + "x" * 200_000, "at most 100000 characters"),
    (f"blocks: {'[' * 20}{']' * 20}", "nested deeper than 8 levels"),
    ("style: " + "x" * 300, "is too long for a file"),
    (f"style: [{', '.join(['x.png'] * 20_000)}]", "too many values"),
]


@pytest.mark.parametrize(("field", "reason"), ROWS_OF_YAML)
def test_an_impossible_value_of_yaml_is_reported_with_its_row_and_the_others_are_read(tmp_path, field, reason):
    path = write(tmp_path, "jobs.yaml", f"- prompt: a\n- prompt: b\n  {field}\n- prompt: c\n")
    with pytest.raises(ManifestError, match=f"^{path}: 1 of 3 rows are invalid") as caught:
        read_manifest(path, SEED)
    [error] = caught.value.errors
    assert error.startswith("row 2: ")
    assert reason in error
    assert len(error) < 700


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- " + "[" * 500 + "]" * 500, r"is too complicated on line 1: it is nested deeper than 32 levels"),
        ("- " * 500 + "a", r"is too complicated on line 1"),
        ("- &a [*a]", r"has an alias on line 1 that stands for no complete value"),
        ("- &a {<<: *a}", r"has an alias on line 1 that stands for no complete value"),
        ("- *a", r"has an alias on line 1"),
        ("- a\n" * 500_001, r"is too large on line 500000: it has more than 500,000 values"),
        ("- a\n---\n- b", r"is not YAML: expected a single document"),
        ("- a: \x07", r"is not YAML"),
    ],
)
def test_yaml_without_usable_rows_is_refused_in_a_short_line(tmp_path, text, reason):
    with pytest.raises(JobError, match=reason) as caught:
        read_manifest(write(tmp_path, "jobs.yaml", text), SEED)
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


ROWS_OF_JSON = [
    ('{"prompt": "a \\ud83d b"}', "has half a surrogate pair"),
    ('{"prompt": "a", "blocks": "\\ud800"}', "blocks is '\\ud800', which has half a surrogate pair"),
    ('{"prompt": "a\\u0000"}', "prompt is 'a\\x00', which has a NUL character"),
    ('{"prompt": "a", "\\ud800": 1}', "the name '\\ud800' has half a surrogate pair"),
    ('{"prompt": "a", "style": "%s"}' % ("x" * 300), "is too long for a file: a name has at most 255 bytes"),
    ('{"prompt": "a", "style": "%s.png"}' % ("x/" * 3000), "is too long for a file"),
    ('{"prompt": "a", "style": "a\\u0000b.png"}', "has a NUL character"),
    ('{"prompt": "a", "model": "/proc/self/mem"}', "/proc/self/mem cannot be read"),
    ('{"prompt": "a", "model": "%s"}' % ("x" * 300), "is too long for a file"),
    ('{"prompt": "a", "seed": %s}' % ("1" * 5000), "a number with too many digits"),
    ('{"prompt": "a", "scale": %s}' % ("1" * 400), "has more than 64 bits"),
    ('{"prompt": ' + "[" * 990 + "]" * 990 + "}", "it is nested deeper than 32 levels"),
    ('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "it is nested deeper than 32 levels"),
    ('{"prompt": "a", "content": [%s""]}' % ("1," * 9000), "and 8991 more"),
    ('{"prompt": "a", "%s": 1}' % ("k" * 100_000), "there is no field kkk"),
]


@pytest.mark.parametrize(("line", "reason"), ROWS_OF_JSON, ids=[reason for _, reason in ROWS_OF_JSON])
def test_an_impossible_value_of_json_is_reported_with_its_line(tmp_path, line, reason):
    path = write(tmp_path, "jobs.jsonl", f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}\n')
    with pytest.raises(ManifestError, match=f"^{path}: 1 of 3 rows are invalid") as caught:
        read_manifest(path, SEED)
    [error] = caught.value.errors
    assert error.startswith("line 2: ")
    assert reason in error
    assert len(error) < 700


def test_a_sparse_manifest_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "jobs.csv").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(JobError, match="1,000,000 MB"):
        read_manifest(tmp_path / "jobs.csv", SEED)


def test_the_message_of_many_invalid_rows_is_short_and_the_list_complete(tmp_path):
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path, "jobs.jsonl", '{"prompt": 1}\n' * 1000), SEED)
    assert len(caught.value.errors) == 1000
    assert str(caught.value).endswith("and 990 more")
    assert len(str(caught.value)) < 4000


def test_seeds_are_counted_before_they_are_listed():
    assert parse_seeds("1:1000000")[-1] == 1_000_000
    for text, count in (("1:1000001", "1,000,001"), ("0:" + "9" * 4000, "far too many"), (f"1:{10**18}", "000,000")):
        with pytest.raises(JobError, match=f"There are [0-9,]*{count} seeds; a batch has at most 1,000,000 rows"):
            parse_seeds(text)
    with pytest.raises(JobError, match="seeds are '1:9999") as caught:
        parse_seeds("1:" + "9" * 5000)
    assert len(str(caught.value)) < 250


def test_combinations_are_counted_before_they_are_made():
    with pytest.raises(JobError, match="There are 1,000,001 combinations of style, prompt and seed"):
        cross_product([], ["a"], range(1_000_001))
