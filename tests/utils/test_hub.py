"""Files of the hub without network access, and the errors for those that are not in the cache."""

import socket
from time import perf_counter
from typing import Any

import httpx
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
    assert message.count("HF_HUB_OFFLINE") == 1


def test_a_string_that_is_not_a_hub_id_is_rejected():
    with pytest.raises(ModelError, match="is not a hub id"):
        fetch_file("three words here", "weights.safetensors")


def test_a_cached_file_is_found_without_network_access(tmp_path):
    cached = tmp_path / "models--owner--name"
    commit = "a" * 40
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "snapshots" / commit / "weights.safetensors").write_bytes(b"here")
    assert fetch_file("owner/name", "weights.safetensors", commit).read_bytes() == b"here"


@pytest.fixture
def unreachable(monkeypatch):
    """A machine without network access whose user has not set HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    from instantstyle.utils import hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Port 9 of this machine refuses connections.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    yield
    hub.forget_answer()


def test_a_hub_that_does_not_answer_is_asked_once_and_named_at_once(unreachable, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    start = perf_counter()
    with pytest.raises(ModelError, match=r"offline: http://127\.0\.0\.1:9 does not answer: Connect\w+\)") as error:
        fetch_file("owner/name", "weights.safetensors", "abc123")
    assert perf_counter() - start < 2
    assert str(error.value).count("does not answer") == 1
    assert "`hf download owner/name weights.safetensors --revision abc123`" in str(error.value)


def test_a_cached_file_of_a_branch_is_used_where_the_hub_does_not_answer(unreachable, tmp_path):
    cached, commit = tmp_path / "models--owner--name", "a" * 40
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    (cached / "snapshots" / commit / "config.json").write_bytes(b"here")
    assert fetch_file("owner/name", "config.json").read_bytes() == b"here"


def test_a_silent_hub_counts_as_unreachable_after_the_timeout(unreachable, monkeypatch):
    """A server that accepts connections and sends nothing, as some firewalls do."""
    from huggingface_hub import constants

    from instantstyle.utils import hub

    monkeypatch.setattr(hub, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = perf_counter()
        assert "does not answer" in str(hub.why_unreachable())
        assert perf_counter() - start < 2
        # The answer counts for some seconds, so that an error that names it does not wait again.
        start = perf_counter()
        hub.why_unreachable()
        assert perf_counter() - start < 0.1


def test_a_gated_repository_is_named_with_the_page_of_its_licence(monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object, **__: object):
        response: Any = httpx.Response(401, request=httpx.Request("GET", "http://a"))
        raise GatedRepoError("401 Client Error", response=response)

    monkeypatch.setattr("instantstyle.utils.hub.why_unreachable", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(ModelError, match="owner/name is gated: accept its licence at https://") as error:
        fetch_file("owner/name", "model_index.json", "abc123")
    assert "/owner/name and log in with `hf auth login`" in str(error.value)
