"""On a network where one block is known to carry the look, the probe finds that block."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.errors import BlockError, JobError
from instantstyle.evaluation.experiment import Experiment
from instantstyle.evaluation.probe import Effect, probe, proposed, ranked, roles_in
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import ByPixels, ByWords
from instantstyle.metrics.scorers import first_named
from instantstyle.unet.blocks import Block
from instantstyle.unet.probe_file import read_roles

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}
CARRIER = Block.parse("up_blocks.1.attentions.1")


@pytest.fixture(scope="module")
def carried(tokenizer_folder, state, layers, image_encoder) -> InstantStyle:
    """Every adapter layer is silent but one block's, and that knows a single look, whatever it is shown."""
    from ..conftest import make_pipe

    weights = {
        name: tensor * (".to_v" not in name or _block(name, layers) == CARRIER)
        for name, tensor in state["ip_adapter"].items()
    }
    projection = {**state["image_proj"], "proj.weight": state["image_proj"]["proj.weight"] * 0}
    adapter = {"image_proj": projection, "ip_adapter": weights}
    return InstantStyle(make_pipe(tokenizer_folder), adapter=adapter, image_encoder=image_encoder)


def _block(name: str, layers) -> Block:
    return next(layer.block for layer in layers if layer.number == int(name.partition(".")[0]))


@pytest.fixture(scope="module")
def trials(carried, tmp_path_factory) -> Experiment:
    """References are pictures in the look that the block knows, drawn with everything on."""
    grey = Image.new("RGB", (32, 32), "grey")
    shown = [
        ReferenceImage(
            f"{number}.png", carried("a", style=grey, blocks="all", seed=1000 * number, **TINY).images[0]
        )
        for number in range(2)
    ]
    folder = tmp_path_factory.mktemp("probe") / "results"
    return Experiment(carried, shown, ["a"], [ByPixels()], folder, model="small", arguments=TINY)


@pytest.fixture(scope="module")
def finding(trials):
    return probe(trials)


def test_the_block_that_carries_the_look_is_found(finding):
    assert finding.roles["style"].blocks == (CARRIER,)
    assert finding.roles["style"].confidence == 1


def test_the_silent_blocks_have_no_effect_at_all(finding):
    for block, effect in finding.effects["look"].items():
        assert (effect.effect == pytest.approx(0, abs=1e-4)) == (block != CARRIER), block


def test_the_file_says_which_blocks_and_how_surely(finding, trials):
    assert read_roles(finding.path)["style"] == (CARRIER,)
    held = json.loads(finding.path.read_text())
    assert held["roles"]["style"]["confidence"] == 1
    assert held["settings"]["scores"] == ["pixels"]
    assert len(held["effects"]["look"]) == len(trials.styled.architecture.blocks)


def test_table_heat_map_and_contact_sheet_lie_beside_it(finding, trials):
    with (trials.folder / "probe.csv").open() as file:
        first, *rest = csv.DictReader(file)
    assert (first["block"], len(rest)) == (str(CARRIER), 10)
    with (
        Image.open(trials.folder / "contact.png") as sheet,
        Image.open(trials.folder / "heatmap.png") as heat,
    ):
        assert sheet.height > sheet.width > 0
        assert heat.width > 0


def test_what_is_drawn_is_not_drawn_again(finding, trials, monkeypatch):
    monkeypatch.setattr(trials.styled.pipe, "unet", None)
    again = probe(replace(trials))
    assert again.roles == finding.roles


def test_one_lost_picture_costs_one_cell(finding, trials):
    told = []
    lost = trials.folder / "pictures" / f"only-{CARRIER}" / "1-0.png"
    before = lost.read_bytes()
    lost.unlink()
    probe(trials, lambda done, cells: told.append((done, cells)))
    assert lost.read_bytes() == before
    assert told[-1] == (24 * 2, 24 * 2)


def test_other_settings_are_refused_and_named(finding, trials):
    with pytest.raises(JobError, match=r"prompts .*not.*write elsewhere"):
        probe(replace(trials, prompts=["b"]))


def test_a_probe_without_scores_for_the_look_is_refused(trials, tmp_path):
    reader = trials.styled.text_encoder
    assert reader
    words = ByWords(trials.styled.image_encoder, reader)
    few = replace(trials, scorers=[words], folder=tmp_path, references=trials.references[:1])
    with pytest.raises(JobError, match="look and layout"):
        probe(few)


def test_a_networks_roles_become_the_probed_ones(finding, trials):
    own = trials.styled.architecture
    found = own.as_probed(finding.path)
    assert found.select("style") == {CARRIER: 1.0}
    assert str(finding.path) in found.sources["style"]
    assert found.blocks == own.blocks


def test_a_probe_of_another_network_is_refused(finding, trials):
    with pytest.raises(BlockError, match="another network"):
        read_roles(finding.path, trials.styled.architecture.blocks[1:])


def test_a_probe_that_was_not_finished_proposes_nothing(finding, tmp_path):
    held = json.loads(finding.path.read_text())
    del held["roles"]
    (tmp_path / "half.json").write_text(json.dumps(held))
    with pytest.raises(JobError, match="not finished"):
        read_roles(tmp_path / "half.json")


def effect(mean: float, low: float) -> Effect:
    return Effect(mean, mean, low, 2 * mean - low, first=0.9)


def test_a_role_takes_the_first_block_and_those_half_as_strong():
    a, b, c = (Block("up_blocks", 0, number) for number in range(3))
    found = proposed({a: effect(0.2, 0.1), b: effect(0.3, 0.2), c: effect(0.1, 0.05)}, references=4)
    assert found
    assert found.blocks == (b, a)


def test_where_no_effect_is_surely_above_zero_nothing_is_proposed():
    a, b = (Block("up_blocks", 0, number) for number in range(2))
    assert proposed({a: effect(0.2, -0.1), b: effect(0.15, 0.1)}, references=4) is None


def test_a_block_that_costs_the_subject_is_no_style_block_where_another_does_not():
    a, b, c = (Block("up_blocks", 0, number) for number in range(3))
    look = {a: effect(0.3, 0.2), b: effect(0.2, 0.1), c: effect(0.01, 0.005)}
    net = {a: effect(-0.1, -0.2), b: effect(0.19, 0.1), c: effect(0.2, 0.1)}
    layout = {block: effect(0.0, 0.0) for block in look}
    roles = roles_in({"look": look, "layout": layout, "net": net}, references=4)
    assert roles.keys() == {"style"}
    assert roles["style"].blocks == (b,)


def test_with_one_reference_no_confidence_is_claimed():
    found = proposed({CARRIER: effect(0.2, 0.2)}, references=1)
    assert found
    assert found.confidence is None


def test_a_block_that_leads_with_half_of_the_references_is_half_sure():
    effects = torch.tensor([[1.0, 0.0] * 10, [0.0, 1.0] * 10])
    first, second = ranked(effects, effects)
    assert (first.first, second.first) == pytest.approx((0.5, 0.5), abs=0.06)
    assert first.low < first.effect < first.high


def test_ties_share_the_first_place():
    first, second = ranked(torch.zeros(2, 3), torch.zeros(2, 3))
    assert first.first == second.first == 0.5


def test_a_score_is_found_by_its_name_whoever_gives_it():
    assert first_named(["leak", "drawing"], ["look (pixels)", "drawing (pixels)"]) == "drawing (pixels)"
    assert first_named(["leak"], ["leakage (x)"]) is None
