"""What cannot be fetched is told with where we looked and how to get it; nothing here touches a network."""

import pytest

from instantstyle import ModelError
from instantstyle.utils.hub import fetch


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_file_that_is_not_here_is_named_with_the_command_that_gets_it():
    with pytest.raises(ModelError, match="offline: HF_HUB_OFFLINE") as refusal:
        fetch("owner/name", "weights.safetensors", "abc123")
    told = str(refusal.value)
    assert "`hf download owner/name weights.safetensors --revision abc123`" in told
    assert "\n" not in told


def test_what_is_no_hub_id_is_refused():
    with pytest.raises(ModelError, match="is no hub id"):
        fetch("three words here", "weights.safetensors")


def test_a_file_kept_here_is_found_without_a_network(tmp_path):
    kept = tmp_path / "models--owner--name"
    commit = "a" * 40
    (kept / "snapshots" / commit).mkdir(parents=True)
    (kept / "snapshots" / commit / "weights.safetensors").write_bytes(b"here")
    assert fetch("owner/name", "weights.safetensors", commit).read_bytes() == b"here"
