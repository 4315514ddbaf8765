"""The probe of a network in which a single known block carries the look."""

import csv
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.errors import BlockError, JobError
from instantstyle.evaluation.block_effects import Effect, propose_role, propose_roles, rank_blocks
from instantstyle.evaluation.experiment import Experiment
from instantstyle.evaluation.probe import probe
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import PixelScorer, TextScorer
from instantstyle.metrics.scorers import find_score
from instantstyle.unet.blocks import Block, BlockLayer, BlockOrLayer
from instantstyle.unet.probe_file import apply_probed_roles, read_roles, resolve_block_spec

TINY: dict[str, Any] = {"num_inference_steps": 1, "height": 16, "width": 16}
CARRIER = Block.parse("up_blocks.1.attentions.1")


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, layers, image_encoder) -> InstantStyle:
    """A model whose adapter is zero except in one block, where it applies the same look to any reference."""
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
def experiment(styled, tmp_path_factory) -> Experiment:
    """An experiment whose references were generated in the look of that block."""
    grey = Image.new("RGB", (32, 32), "grey")
    references = [
        ReferenceImage(f"{number}.png", styled("a", style=grey, blocks="all", seed=1000 * number, **TINY).images[0])
        for number in range(2)
    ]
    folder = tmp_path_factory.mktemp("probe") / "results"
    return Experiment(styled, references, ["a"], [PixelScorer()], folder, model="small", arguments=TINY)


@pytest.fixture(scope="module")
def result(experiment):
    return probe(experiment)


def test_the_block_that_carries_the_look_is_found(result):
    assert result.roles["style"].blocks == (CARRIER,)
    assert result.roles["style"].confidence == 1


def test_blocks_without_weights_have_no_effect(result):
    for block, effect in result.effects["look"].items():
        assert (effect.effect == pytest.approx(0, abs=1e-4)) == (block != CARRIER), block


def test_the_file_holds_the_blocks_and_their_confidence(result, experiment):
    assert read_roles(result.path)["style"] == (CARRIER,)
    held = json.loads(result.path.read_text())
    assert held["roles"]["style"]["confidence"] == 1
    assert held["settings"]["scores"] == ["pixels"]
    assert len(held["effects"]["look"]) == len(experiment.styled.architecture.blocks)


def test_a_table_a_heat_map_and_a_contact_sheet_are_written(result, experiment):
    with (experiment.folder / "probe.csv").open() as file:
        first, *rest = csv.DictReader(file)
    assert (first["block"], len(rest)) == (str(CARRIER), 10)
    with (
        Image.open(experiment.folder / "contact.png") as sheet,
        Image.open(experiment.folder / "heatmap.png") as heat,
    ):
        assert sheet.height > sheet.width > 0
        assert heat.width > 0


def test_finished_cells_are_not_generated_again(result, experiment, monkeypatch):
    monkeypatch.setattr(experiment.styled.pipe, "unet", None)
    again = probe(replace(experiment))
    assert again.roles == result.roles


def test_a_missing_image_is_generated_again_with_its_cell_only(result, experiment):
    calls = []
    lost = experiment.folder / "pictures" / f"only-{CARRIER}" / "1-0.png"
    before = lost.read_bytes()
    lost.unlink()
    probe(experiment, lambda done, cells: calls.append((done, cells)))
    assert lost.read_bytes() == before
    assert calls[-1] == (24 * 2, 24 * 2)


def test_results_of_other_settings_are_refused_with_their_names(result, experiment):
    with pytest.raises(JobError, match=r"prompts .*not.*write elsewhere"):
        probe(replace(experiment, prompts=["b"]))


def test_a_probe_without_scores_of_the_look_is_refused(experiment, tmp_path):
    text_encoder = experiment.styled.text_encoder
    assert text_encoder
    scorer = TextScorer(experiment.styled.image_encoder, text_encoder)
    without_look = replace(experiment, scorers=[scorer], folder=tmp_path, references=experiment.references[:1])
    with pytest.raises(JobError, match="look and layout"):
        probe(without_look)


def test_probed_roles_replace_the_roles_of_an_architecture(result, experiment):
    own = experiment.styled.architecture
    found = apply_probed_roles(own, result.path)
    assert found.select("style") == {CARRIER: 1.0}
    assert str(result.path) in found.sources["style"]
    assert found.blocks == own.blocks


def test_a_probe_of_another_network_is_refused(result, experiment):
    architecture = experiment.styled.architecture
    with pytest.raises(BlockError, match="another network"):
        read_roles(result.path, replace(architecture, blocks=architecture.blocks[1:]))


def test_an_unfinished_probe_is_refused(result, tmp_path):
    held = json.loads(result.path.read_text())
    del held["roles"]
    (tmp_path / "half.json").write_text(json.dumps(held))
    with pytest.raises(JobError, match="not finished"):
        read_roles(tmp_path / "half.json")


def effect(mean: float, low: float) -> Effect:
    return Effect(mean, mean, low, 2 * mean - low, first=0.9)


def test_a_role_takes_the_first_block_and_those_half_as_strong():
    a, b, c = (Block("up_blocks", 0, number) for number in range(3))
    found = propose_role({a: effect(0.2, 0.1), b: effect(0.3, 0.2), c: effect(0.1, 0.05)}, references=4)
    assert found
    assert found.blocks == (b, a)


def test_no_role_is_proposed_without_a_significant_effect():
    a, b = (Block("up_blocks", 0, number) for number in range(2))
    assert propose_role({a: effect(0.2, -0.1), b: effect(0.15, 0.1)}, references=4) is None


def test_a_block_that_costs_the_subject_is_no_style_block_if_another_does_not():
    a, b, c = (Block("up_blocks", 0, number) for number in range(3))
    look: dict[BlockOrLayer, Effect] = {a: effect(0.3, 0.2), b: effect(0.2, 0.1), c: effect(0.01, 0.005)}
    net: dict[BlockOrLayer, Effect] = {a: effect(-0.1, -0.2), b: effect(0.19, 0.1), c: effect(0.2, 0.1)}
    layout: dict[BlockOrLayer, Effect] = {block: effect(0.0, 0.0) for block in look}
    roles = propose_roles({"look": look, "layout": layout, "net": net}, references=4)
    assert roles.keys() == {"style"}
    assert roles["style"].blocks == (b,)


def test_a_single_reference_gives_no_confidence():
    found = propose_role({CARRIER: effect(0.2, 0.2)}, references=1)
    assert found
    assert found.confidence is None


def test_a_block_that_leads_for_half_of_the_references_has_half_the_confidence():
    effects = torch.tensor([[1.0, 0.0] * 10, [0.0, 1.0] * 10])
    first, second = rank_blocks(effects, effects)
    assert (first.first, second.first) == pytest.approx((0.5, 0.5), abs=0.06)
    assert first.low < first.effect < first.high


def test_ties_share_the_first_place():
    first, second = rank_blocks(torch.zeros(2, 3), torch.zeros(2, 3))
    assert first.first == second.first == 0.5


def test_a_score_is_found_by_name_for_any_scorer():
    assert find_score(["leak", "drawing"], ["look (pixels)", "drawing (pixels)"]) == "drawing (pixels)"
    assert find_score(["leak"], ["leakage (x)"]) is None


def test_a_probe_descends_to_the_layers_of_a_block(tokenizer_folder, state, layers, image_encoder, tmp_path):
    """Only the second layer of a block has values; the probe of layers finds it, resumes, and names it in its file."""
    from ..conftest import make_pipe

    carrier = BlockLayer(Block.parse("up_blocks.0.attentions.1"), 1)
    [number] = [layer.number for layer in layers if layer.block_layer == carrier]
    weights = {
        name: tensor * (".to_v" not in name or name.startswith(f"{number}."))
        for name, tensor in state["ip_adapter"].items()
    }
    projection = {**state["image_proj"], "proj.weight": state["image_proj"]["proj.weight"] * 0}
    adapter = {"image_proj": projection, "ip_adapter": weights}
    styled = InstantStyle(make_pipe(tokenizer_folder), adapter=adapter, image_encoder=image_encoder)
    grey = Image.new("RGB", (32, 32), "grey")
    images = [styled("a", style=grey, blocks="all", seed=1000 * number, **TINY).images[0] for number in range(2)]
    references = [ReferenceImage(f"{number}.png", image) for number, image in enumerate(images)]
    experiment = Experiment(styled, references, ["a"], [PixelScorer()], tmp_path, model="small", arguments=TINY)
    calls: list[tuple[int, int]] = []
    result = probe(experiment, lambda *call: calls.append(call), "up_blocks.0.attentions.1")
    assert result.roles["style"].blocks == (carrier,)
    assert set(result.effects["look"]) == {replace(carrier, position=number) for number in range(2)}
    assert calls[-1] == ((2 + 2 * 2) * 2,) * 2
    written = result.path.read_bytes()
    assert probe(experiment, layers="up_blocks.0.attentions.1.transformer_blocks.0-1").roles == result.roles
    assert result.path.read_bytes() == written
    with pytest.raises(JobError, match="write elsewhere"):
        probe(experiment)
    spec = resolve_block_spec(str(result.path), styled.architecture)
    assert styled.architecture.select(spec) == {carrier: 1.0}
    assert apply_probed_roles(styled.architecture, result.path).select("style") == {carrier: 1.0}
    shallow = styled.architecture.with_layers(f"{block}.transformer_blocks.0" for block in styled.architecture.blocks)
    with pytest.raises(BlockError, match=r"another network: it has up_blocks.0.attentions.1.transformer_blocks.1"):
        read_roles(result.path, shallow)
    with pytest.raises(JobError, match=r"mid_block.* has fewer than two"):
        probe(experiment, layers="mid_block.attentions.0.transformer_blocks.1")
