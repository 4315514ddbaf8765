"""Files of the hub without network access, and the errors for those that are not in the cache."""

import pytest

from instantstyle import ModelError
from instantstyle.utils.hub import fetch_file


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_missing_file_is_reported_with_the_command_that_downloads_it():
    with pytest.raises(ModelError, match="offline: HF_HUB_OFFLINE") as error:
        fetch_file("owner/name", "weights.safetensors", "abc123")
    message = str(error.value)
    assert "`hf download owner/name weights.safetensors --revision abc123`" in message
    assert "\n" not in message


def test_a_string_that_is_not_a_hub_id_is_rejected():
    with pytest.raises(ModelError, match="is not a hub id"):
        fetch_file("three words here", "weights.safetensors")


def test_a_cached_file_is_found_without_network_access(tmp_path):
    cached = tmp_path / "models--owner--name"
    commit = "a" * 40
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "snapshots" / commit / "weights.safetensors").write_bytes(b"here")
    assert fetch_file("owner/name", "weights.safetensors", commit).read_bytes() == b"here"
