"""Every question on the small random model: all arms drawn, means kept, and a page that has them all."""

import argparse
import json
import re
from xml.etree import ElementTree

import pytest

from findings import blocks, costs, cures, scales
from findings.claims import CLAIMS, WORDS
from findings.page import CURVES, QUESTIONS, drawn, page
from findings.study import RESULTS, read, report, trials_of, weights
from instantstyle import InstantStyle, JobError
from instantstyle.evaluation.probe import probe

from ..conftest import make_pipe

REFERENCES = 2


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, image_encoder) -> InstantStyle:
    # 64 px: what the judge looks at.
    tiny = {"num_inference_steps": 1, "height": 64, "width": 64}
    return InstantStyle(
        make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder, defaults=tiny
    )


@pytest.fixture(scope="module")
def args(tmp_path_factory) -> argparse.Namespace:
    work = tmp_path_factory.mktemp("findings")
    return argparse.Namespace(references=REFERENCES, asked=2, steps=None, seed=3, work=work)


@pytest.fixture(scope="module")
def files(styled, args):
    """As each question's command writes it."""
    made = {
        "cures": cures.results_of,
        "scales": scales.results_of,
        "blocks": lambda trials: blocks.results_of(trials, probe(trials)),
        "costs": lambda trials: costs.results_of(trials, rounds=1),
    }
    found = {}
    for name in QUESTIONS:
        trials = trials_of(styled, args, name)
        args.output = args.work / "results" / f"{name}.json"
        report(f"What of {name}?", args, trials, made[name](trials))
        found[name] = json.loads(args.output.read_text())
    return found


def test_every_arm_has_a_mean_for_each_reference(files):
    for file in (files[name] for name in QUESTIONS if name != "costs"):
        for arm, scores in file["results"]["means"].items():
            assert {
                score: len(values) for score, values in scores.items() if score in WORDS
            } == dict.fromkeys(WORDS, REFERENCES), arm


def test_every_cure_has_a_cost_and_a_place(files):
    results, spent = files["cures"]["results"], files["costs"]["results"]
    assert results["means"].keys() == spent.keys()
    assert [len(names) for names in results["places"].values()] == [7, 8]
    assert spent["all blocks"]["to_plain"] == 1


def test_a_claim_speaks_of_arms_that_are_drawn(files):
    for claim in CLAIMS:
        assert {claim.one, claim.other} <= files[claim.study]["results"]["means"].keys(), claim.says


def test_settings_name_command_machine_weights_and_counts(files):
    told = files["cures"]["settings"]
    assert told["weights"] == weights()
    assert (told["references"], told["steps"], told["seed"], len(told["asked"])) == (REFERENCES, 1, 3, 2)
    assert {"command", "machine", "torch", "diffusers"} <= told.keys()


def test_what_was_drawn_is_not_drawn_again(files, styled, args, monkeypatch):
    monkeypatch.setattr(styled.pipe, "unet", None)
    again = scales.means(trials_of(styled, args, "scales"))
    assert again == files["scales"]["results"]["means"]


def test_what_other_weights_drew_is_not_gone_on_with(files, styled, args):
    with pytest.raises(JobError, match="other settings"):
        scales.means(trials_of(styled, args, "scales", model="mini 0000"))


def test_the_page_has_every_claim_arm_and_block(files):
    text = page(files)
    assert all(claim.says in text for claim in CLAIMS)
    for arm in files["cures"]["results"]["means"]:
        assert f"| {arm} |" in text
    for block in files["blocks"]["results"]["blocks"]:
        assert text.count(f"| `{block}` |") == 2
    assert not re.search(r"[{}]", text)


def test_without_pairs_of_pictures_the_page_says_nothing_of_what_they_share(files):
    """One thing asked of each reference: then no study has these scores."""
    pairs = ("consistency", "repetition")

    def alone(file):
        if "means" not in file["results"]:
            return file
        kept = {
            arm: {score: values for score, values in scores.items() if score not in pairs}
            for arm, scores in file["results"]["means"].items()
        }
        return {**file, "results": {**file["results"], "means": kept}}

    text = page({name: alone(file) for name, file in files.items()})
    assert "one look" in page(files)
    assert "one look" not in text
    assert f"| {WORDS['repetition']} |" not in text


def test_results_of_different_weights_make_no_page(files):
    other = {**files["scales"], "settings": {**files["scales"]["settings"], "weights": "0"}}
    with pytest.raises(JobError, match=r"scales by 0.*make findings"):
        page({**files, "scales": other})


def test_a_question_that_was_not_asked_is_named(args, files):
    with pytest.raises(JobError, match=r"no nothing\.json: make findings"):
        read(args.work / "results", ["cures", "nothing"])


def test_curves_are_pictures_of_their_own_with_the_arms_in_them(files):
    results = files["scales"]["results"]
    pictures = drawn(results)
    assert [*pictures] == [*CURVES.values()]
    for text in pictures.values():
        words = [node.text for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {results["plain"], *results["arms"]} <= {*words}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_published_results_are_of_the_weights_that_ship(path):
    assert json.loads(path.read_text())["settings"]["weights"] == weights(), "make findings"
