"""`instantstyle serve` before it listens: its errors and its settings."""

import importlib
import sys

import pytest

from instantstyle.server import Settings


@pytest.fixture
def served(monkeypatch) -> list[Settings]:
    """Return the settings with which the server would start."""
    calls: list[Settings] = []
    monkeypatch.setattr("instantstyle.server.serve", calls.append)
    return calls


def test_by_default_the_server_listens_on_localhost(run, served):
    assert run("serve").code == 0
    [settings] = served
    assert (settings.host, settings.port, len(settings.keys), settings.library) == (
        "127.0.0.1",
        8000,
        0,
        False,
    )


def test_options_become_settings(run, served, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("ada-0123456789abcdef\n")
    words = ["--host", "0.0.0.0", "--api-keys", keys, "--device", "cpu", "--queue", 3, "--max-steps", 9]
    assert run("serve", *words).code == 0
    [settings] = served
    assert (settings.host, settings.devices, len(settings.keys)) == ("0.0.0.0", ("cpu",), 1)
    assert (settings.limits.queue, settings.limits.steps) == (3, 9)


def test_another_host_without_a_key_is_refused_before_a_model_is_loaded(run, monkeypatch):
    monkeypatch.delenv("INSTANTSTYLE_API_KEYS", raising=False)
    outcome = run("serve", "--host", "0.0.0.0", "--model", "nowhere")
    assert outcome.code == 2
    assert "On 0.0.0.0 other machines can reach this service, and it has no API key" in outcome.err


@pytest.mark.parametrize("absent", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_a_missing_library_is_refused_with_the_install_command(run, monkeypatch, absent):
    # Imported whole before: Starlette without python_multipart imports its deprecated name, with a warning.
    importlib.import_module("starlette.formparsers")
    monkeypatch.setitem(sys.modules, absent, None)
    outcome = run("serve", "--model", "nowhere")
    assert outcome.code == 2
    assert f"The service needs {absent}, which is not installed: pip install 'instantstyle[server]'" in outcome.err


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [("lms", "scheduler 'lms' needs the package scipy, which is not installed"), ("no", "There is no scheduler 'no'")],
)
def test_a_scheduler_that_cannot_be_built_is_refused_before_the_model_is_loaded(run, monkeypatch, scheduler, reason):
    monkeypatch.setitem(sys.modules, "scipy", None)
    outcome = run("serve", "--model", "nowhere", "--scheduler", scheduler)
    assert (outcome.code, reason in outcome.err) == (2, True)


def test_controlnets_of_a_service_are_named_once_and_known(run, served):
    assert run("serve", "--control", "tile", "--control", "canny", "--control", "tile").code == 0
    assert served[0].controls == ("canny", "tile")
    outcome = run("serve", "--control", "depth")
    assert (outcome.code, "--control is 'depth'; give canny or tile." in outcome.err) == (2, True)


def test_a_controlnet_that_the_model_has_not_is_refused_before_it_is_loaded(run, monkeypatch):
    monkeypatch.setattr("instantstyle.generation.worker.load_model", lambda *_: pytest.fail("loaded"))
    outcome = run("serve", "--control", "tile")
    assert (outcome.code, "There is no tile ControlNet for mini" in outcome.err) == (2, True)
    monkeypatch.setitem(sys.modules, "cv2", None)
    outcome = run("serve", "--control", "canny")
    assert (outcome.code, "OpenCV, which is not installed" in outcome.err) == (2, True)
