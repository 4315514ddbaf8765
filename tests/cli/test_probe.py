"""`instantstyle probe` and `evaluate`, on the small random model in one step."""

import json
import os
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from instantstyle.cli import evaluate, probe
from instantstyle.cli.command import repeat_list_flags
from instantstyle.errors import BlockError, ImageError, InstantStyleError, JobError
from instantstyle.unet.architectures import MINI
from instantstyle.unet.blocks import Block

pytestmark = pytest.mark.slow

SMALL = ["--steps", 1, "--height", 16, "--width", 16]


STYLES = ["--styles", "a.png", "b.png", "--prompts", "a"]


def run_verb(verb, *words: object) -> str:
    """Run a verb and return its stdout or raise its error."""
    app = typer.Typer()
    app.command(cls=verb.COMMAND)(verb.run)
    done = CliRunner().invoke(app, [*map(str, words)])
    if isinstance(done.exception, InstantStyleError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def save_images(folder: Path) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "teal")):
        Image.new("RGB", (16, 16), colour).save(folder / name)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run verbs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run_verb


@pytest.fixture
def images(tmp_path):
    save_images(tmp_path)


@pytest.fixture(scope="module")
def found(model, tmp_path_factory) -> tuple[Path, str]:
    """The folder that a probe has written, and what it printed."""
    folder = tmp_path_factory.mktemp("probed")
    save_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out = run_verb(probe, "--model", model, *STYLES, "-o", "found", *SMALL)
    return folder / "found", out


def test_several_words_after_one_flag_are_a_list():
    words = ["--styles", "a.png", "b.png", "--seed", "3", "--prompts", "a cat", "-o", "out"]
    assert repeat_list_flags(words) == [
        *("--styles", "a.png", "--styles", "b.png"),
        *("--seed", "3", "--prompts", "a cat", "-o", "out"),
    ]


def test_a_probe_writes_its_folder(found):
    folder, out = found
    assert out.splitlines()[-1] == os.path.join("found", "probe.json")
    assert {*os.listdir(folder)} == {"probe.json", "probe.csv", "heatmap.png", "contact.png", "pictures"}
    held = json.loads((folder / "probe.json").read_text())
    assert held["settings"]["references"][1][0] == "b.png"
    assert held["settings"]["arguments"]["num_inference_steps"] == 1


def test_an_evaluation_writes_its_report(call, model, images, tmp_path):
    (tmp_path / "p.txt").write_text("a\n\nb\n")
    (tmp_path / "contents.json").write_text('{"a.png": "a cat"}')
    words = ["--styles", ".", "--prompts", "p.txt", "--arms", "style", "removed", "--scales", "0.5,1"]
    out = call(evaluate, "--model", model, *words, *SMALL)
    assert out.strip() == os.path.join("evaluation", "report.html")
    held = json.loads((tmp_path / "evaluation" / "evaluate.json").read_text())
    assert len(held["points"]) == 5
    assert "leak (CLIP-24, the adapter's own)" in held["points"][1]["scores"]


def test_an_evaluation_uses_the_roles_of_a_probe(call, found, model, images, tmp_path):
    proposed = json.loads((found[0] / "probe.json").read_text())
    proposed["roles"] = {"style": {"blocks": ["mid_block.attentions.0"]}}
    (tmp_path / "other.json").write_text(json.dumps(proposed))
    call(evaluate, "--model", model, *STYLES, "--arms", "style", "--blocks", "other.json", *SMALL)
    held = json.loads((tmp_path / "evaluation" / "evaluate.json").read_text())
    assert held["settings"]["roles"] == {"style": ["mid_block.attentions.0"]}


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        (["--styles", "a.png"], JobError, "--prompts"),
        (["--styles", "nowhere.png", "--prompts", "a"], ImageError, "nowhere.png does not exist"),
        (["--styles", ".", "--prompts", "nowhere.txt"], JobError, "nowhere.txt"),
    ],
)
def test_invalid_inputs_are_refused_before_a_model_is_loaded(call, images, words, error, reason):
    for verb in (probe, evaluate):
        with pytest.raises(error, match=reason):
            call(verb, *words, "--model", "/nowhere")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--clip", "no encoder in nowhere"),
        ("--dino", "no encoder in nowhere"),
        ("--csd", "nowhere does not exist; give the file"),
    ],
)
def test_a_missing_encoder_is_refused_in_one_line(call, model, images, option, reason):
    words = ["--styles", "a.png", "--prompts", "a", option, "nowhere"]
    with pytest.raises(InstantStyleError, match=reason) as refused:
        call(evaluate, "--model", model, *words, *SMALL)
    assert "\n" not in str(refused.value)


def test_a_probe_of_another_network_is_refused_in_one_line(call, found, model, images, tmp_path):
    held = json.loads((found[0] / "probe.json").read_text())
    held["settings"]["network"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(held))
    with pytest.raises(BlockError, match=r"made with another.*Probe this one") as refused:
        call(evaluate, "--model", model, *STYLES, "--arms", "style", "--blocks", "other.json", *SMALL)
    assert "\n" not in str(refused.value)


def test_a_folder_without_images_is_refused_by_both_verbs(call, tmp_path):
    (tmp_path / "empty").mkdir()
    for verb in (probe, evaluate):
        with pytest.raises(JobError, match="empty has no images; their suffixes can be"):
            call(verb, "--styles", "empty", "--prompts", "a", "--model", "/nowhere")


def test_only_the_images_of_a_folder_are_used(call, model, images, tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "sub").mkdir()
    words = ["--styles", ".", "--prompts", "a", "--arms", "all", "--scales", "1", *SMALL]
    call(evaluate, "--model", model, *words)
    held = json.loads((tmp_path / "evaluation" / "evaluate.json").read_text())
    assert [name for name, *_ in held["settings"]["references"]] == ["a.png", "b.png"]


def test_an_unreadable_image_is_skipped_only_with_skip_bad(call, model, images, tmp_path):
    (tmp_path / "c.png").write_bytes(b"no")
    words = ["--styles", ".", "--prompts", "a", "--arms", "all", "--scales", "1", *SMALL]
    with pytest.raises(ImageError, match=r"c\.png"):
        call(evaluate, "--model", model, *words)
    call(evaluate, "--model", model, *words, "--skip-bad")


@pytest.mark.slow
def test_progress_is_printed_in_a_pipe(run, model, images):
    words = ["--styles", "a.png", "b.png", "--prompts", "a", "b", "-o", "found"]
    lines = run("probe", "--model", model, *words, *SMALL).err.splitlines()
    counts = [line for line in lines if line.endswith(" images")]
    # 24 arms (no block, all, each of 11 alone and off) with 2 references and 2 prompts.
    assert counts == [f"{2 * done} of 96 images" for done in (5, 10, 15, 20, 24, 29, 34, 39, 44, 48)]


@pytest.mark.slow
def test_the_probe_of_mini_finds_the_blocks_of_its_table(run, tmp_path):
    words = ["probe", "--model", "mini", "--references", 4, "--device", "cpu", "-o", "found"]
    assert run(*words).code == 0
    roles = json.loads((tmp_path / "found" / "probe.json").read_text())["roles"]
    found = {role: {*map(Block.parse, proposal["blocks"])} for role, proposal in roles.items()}
    assert found == {role: {*blocks} for role, blocks in MINI.roles.items()}
