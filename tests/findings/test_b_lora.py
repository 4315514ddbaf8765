"""A B-LoRA of a reference: trained in the blocks of object and style, from the same seed always the same."""

import argparse
from statistics import mean

import pytest
from safetensors.torch import load_file

from findings.b_lora import style_of_picture, train_b_lora
from findings.study import create_experiment, load_mini

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    work = tmp_path_factory.mktemp("findings")
    args = argparse.Namespace(references=1, asked=1, steps=2, seed=3, work=work)
    return create_experiment(load_mini(), args, "methods")


def test_training_lowers_the_loss_and_leaves_the_model_as_it_was(experiment, tmp_path):
    unet = experiment.styled.pipe.unet
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    losses = train_b_lora(experiment, 0, tmp_path / "0.safetensors", steps=40)
    assert mean(losses[20:]) < mean(losses[:20])
    assert unet.state_dict().keys() == before.keys()
    assert all(weight.equal(before[name]) for name, weight in unet.state_dict().items())
    names = load_file(tmp_path / "0.safetensors")
    assert names
    assert all(name.startswith("unet.up_blocks.0.attentions.") for name in names)


def test_its_style_blocks_act_and_training_is_repeatable(experiment, tmp_path):
    style = style_of_picture(experiment, 0, steps=2)
    plain, styled = (experiment.styled("a cat", style=each, seed=1).images[0] for each in (None, style))
    assert plain != styled
    layers = style.choose_layers(experiment.styled.pipe, experiment.styled.architecture)
    assert {name.split(".")[2] for name in layers} == {"attentions"}
    assert {name.split(".")[3] for name in layers} == {"1", "2"}
    train_b_lora(experiment, 0, tmp_path / "again.safetensors", steps=2)
    again = load_file(tmp_path / "again.safetensors")
    assert all(weight.equal(again[name]) for name, weight in load_file(style.contents.file.path).items())
