"""Every study on the small random model: all arms are generated, means stored, and shown on the page."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any
from xml.etree import ElementTree

import pytest
from diffusers import DDIMScheduler
from PIL import Image

from findings import blend, methods, page, scales
from findings.claims import CLAIMS
from findings.page import CURVES, STUDIES, render_curves, render_page
from findings.study import RESULTS, create_experiment, hash_weights, read_results
from findings.tables import ARM_SCORES
from instantstyle import InstantStyle, JobError
from instantstyle.core.style_blending import describe_grey
from instantstyle.metrics import SCORE_TITLES, SyntheticScorer

from ..conftest import make_pipe
from ..helpers import run_once, shared_folder

pytestmark = pytest.mark.slow

REFERENCES = 2


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, image_encoder) -> InstantStyle:
    # 64 px: the classifier's input. Two steps: the colour transfer acts between them.
    tiny = {"num_inference_steps": 2, "height": 64, "width": 64}
    pipe = make_pipe(tokenizer_folder)
    # Inversion needs predictions without limits.
    pipe.register_modules(scheduler=DDIMScheduler(clip_sample=False))
    return InstantStyle(pipe, adapter=state, image_encoder=image_encoder, defaults=tiny)


@pytest.fixture(scope="module")
def args(tmp_path_factory) -> argparse.Namespace:
    work = shared_folder(tmp_path_factory, "findings")
    return argparse.Namespace(references=REFERENCES, asked=2, steps=None, seed=3, work=work)


@pytest.fixture(scope="module")
def files(styled, args) -> dict[str, Any]:
    """The files that the studies' commands write; with several workers each runs some of the studies."""
    work, own = (
        args.work,
        {
            "blend": ["--figure", args.work / "blend.jpg"],
            "methods": ["--figure", args.work / "methods.jpg", "--rounds", 1, "--lora-steps", 1],
        },
    )
    common = ["--references", args.references, "--asked", args.asked, "--seed", args.seed, "--work", work]
    words = {name: [*common, *own.get(name, []), "-o", work / "results" / f"{name}.json"] for name in STUDIES}
    run_once(work, {name: partial(run_study, name, styled, words[name]) for name in STUDIES})
    return read_results(work / "results", STUDIES)


def run_study(name: str, styled: InstantStyle, words: Sequence[object]) -> None:
    """Run the command of a study with the small model in place of mini."""
    module = import_module(f"findings.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_mini", lambda **_: styled)
        patch.setattr(sys, "argv", [f"findings/{name}.py", *map(str, words)])
        module.main()


def test_every_arm_has_a_mean_for_each_reference(files):
    for file in (file for file in files.values() if "means" in file["results"]):
        for arm, scores in file["results"]["means"].items():
            assert {score: len(values) for score, values in scores.items() if score in ARM_SCORES} == dict.fromkeys(
                ARM_SCORES, REFERENCES
            ), arm


def test_every_method_has_a_place(files):
    results = files["cures"]["results"]
    assert {name for names in results["places"].values() for name in names} < results["means"].keys()
    assert [len(names) for names in results["places"].values()] == [8, 8, 1, 2]


def test_every_other_method_has_means_and_a_time(files, args):
    results = files["methods"]["results"]
    names = [arm.name for arm in methods.list_arms()]
    assert [*results["means"]] == names
    assert {*results["times"]} == {*names, "seconds of the style blocks"}
    assert results["megabytes"].keys() == {*names}
    text = methods.format_section(results)
    assert all(claim.statement in text for claim in methods.CLAIMS)
    with Image.open(args.work / "methods.jpg") as figure:
        assert figure.width > figure.height


@pytest.mark.usefixtures("files")
def test_a_blend_is_compared_with_both_of_its_references(files, args):
    results = files["blend"]["results"]
    scores = results["scores"]
    assert list(scores) == list(blend.ARMS)
    assert {len(values) for arm in scores.values() for values in arm.values()} == {results["pairs"]}
    # Without a style no reference has an effect; with the style of one, its colours are those of the blend's source.
    text = blend.format_section(results)
    assert all(claim.statement in text for claim in blend.CLAIMS)
    assert all(f"| {arm} |" in text for arm in blend.ARMS)
    with Image.open(args.work / "blend.jpg") as figure:
        assert figure.width > figure.height


def test_the_parts_of_a_pair_differ_in_fill_and_outline_and_no_grey_scene_gives_colours(styled, args):
    args = argparse.Namespace(**{**vars(args), "references": 12})
    experiment = create_experiment(styled, args, "pairs")
    [scorer] = experiment.scorers
    assert isinstance(scorer, SyntheticScorer)
    look, pairs = scorer.scenes.look, blend.find_pairs(experiment, scorer.scenes)
    assert len(pairs) >= 6
    for pair in pairs:
        a, b = pair.colours, pair.texture
        assert look.fill[a] != look.fill[b]
        assert look.outline[a] != look.outline[b]
        style = pair.styles[blend.COLOURS]
        assert style is not None
        assert describe_grey(style, "") is None


def test_claims_compare_arms_that_are_generated(files):
    for claim in CLAIMS:
        arms = files[claim.study]["results"]["means"].keys()
        assert {claim.arm, claim.baseline} <= arms, claim.statement


def test_settings_name_command_machine_weights_and_counts(files):
    settings = files["cures"]["settings"]
    assert settings["weights"] == hash_weights()
    counts = settings["references"], settings["steps"], settings["seed"], len(settings["asked"])
    assert counts == (REFERENCES, 2, 3, 2)
    assert {"command", "machine", "torch", "diffusers"} <= settings.keys()


def test_generated_images_are_not_generated_again(files, styled, args, monkeypatch):
    monkeypatch.setattr(styled.pipe, "unet", None)
    again = scales.measure_means(create_experiment(styled, args, "scales"))
    assert again == files["scales"]["results"]["means"]


@pytest.mark.usefixtures("files")
def test_images_of_other_weights_are_not_reused(styled, args):
    with pytest.raises(JobError, match="other settings"):
        scales.measure_means(create_experiment(styled, args, "scales", model="mini 0000"))


def test_the_page_has_every_claim_arm_and_block(files):
    text = render_page(files)
    assert all(claim.statement in text for claim in CLAIMS)
    for arm in files["cures"]["results"]["means"]:
        assert f"| {arm} |" in text
    for block in files["blocks"]["results"]["blocks"]:
        assert text.count(f"| `{block}` |") == 2
    assert not re.search(r"[{}]", text)


def test_without_pairs_of_images_the_page_omits_their_scores(files):
    """With one requested object no study has these scores."""
    pairs = ("consistency", "repetition")

    def without_pairs(file: dict[str, Any]) -> dict[str, Any]:
        if "means" not in file["results"]:
            return file
        kept = {
            arm: {score: values for score, values in scores.items() if score not in pairs}
            for arm, scores in file["results"]["means"].items()
        }
        return {**file, "results": {**file["results"], "means": kept}}

    text = render_page({name: without_pairs(file) for name, file in files.items()})
    statement = "One reference styles many prompts consistently"
    assert statement in render_page(files)
    assert statement not in text
    assert f"| {SCORE_TITLES['repetition']} |" in render_page(files)
    assert f"| {SCORE_TITLES['repetition']} |" not in text


@pytest.mark.usefixtures("files")
def test_the_command_writes_the_page_and_its_curves(args, monkeypatch, capsys):
    page_file = args.work / "page" / "findings.md"
    words = ["--results", args.work / "results", "-o", page_file]
    monkeypatch.setattr(sys, "argv", ["findings/page.py", *map(str, words)])
    page.main()
    assert capsys.readouterr().out == f"{page_file}\n"
    assert {file.name for file in page_file.parent.rglob("*.*")} == {"findings.md", *CURVES.values()}


def test_results_of_different_weights_are_refused(files):
    other = {**files["scales"], "settings": {**files["scales"]["settings"], "weights": "0"}}
    with pytest.raises(JobError, match=r"scales by 0.*make findings"):
        render_page({**files, "scales": other})


@pytest.mark.usefixtures("files")
def test_missing_results_are_named(args):
    with pytest.raises(JobError, match=r"no nothing\.json\. Run make findings"):
        read_results(args.work / "results", ["cures", "nothing"])


def test_curves_are_files_of_their_own_that_name_the_arms(files):
    results = files["scales"]["results"]
    figures = render_curves(results)
    assert [*figures] == [*CURVES.values()]
    for text in figures.values():
        words = [node.text for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {results["plain"], *results["arms"]} <= {*words}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_published_results_are_of_the_shipped_weights(path):
    assert json.loads(path.read_text())["settings"]["weights"] == hash_weights(), "make findings"
