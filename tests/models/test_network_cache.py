"""Layers of a network are listed once for each config."""

import json
from typing import Any

import pytest

from instantstyle.errors import CheckpointError
from instantstyle.models import network
from instantstyle.models.resolve import find_card

from ..cli.conftest import model  # noqa: F401


def test_a_config_is_read_once_and_again_when_it_has_changed(model, tmp_path, monkeypatch):  # noqa: F811
    source = (model / "unet" / "config.json").read_text()
    (tmp_path / "unet").mkdir()
    config = tmp_path / "unet" / "config.json"
    config.write_text(source)
    (tmp_path / "model_index.json").write_text("{}")
    built = []
    list_layers = network.list_layers
    monkeypatch.setattr(
        network, "list_layers", lambda *each, **options: built.append(1) or list_layers(*each, **options)
    )
    found: list[Any] = [network.find_network(find_card(str(tmp_path))) for _ in range(3)]
    assert len(built) == 1
    assert found[0].layers == found[2].layers
    found[0].layers.clear()
    assert found[2].layers
    wider = {**json.loads(source), "cross_attention_dim": 64}
    config.write_text(json.dumps(wider))
    changed: Any = network.find_network(find_card(str(tmp_path)))
    assert {layer.cross_dim for layer in changed.layers} == {64}
    config.write_text("{")
    with pytest.raises(CheckpointError, match="does not describe a UNet"):
        network.find_network(find_card(str(tmp_path)))
