"""`instantstyle studio` before it listens: its errors and its settings."""

import sys

import pytest

from instantstyle.studio import Settings


@pytest.fixture
def opened(monkeypatch) -> list[Settings]:
    """Return the settings with which the studio would start."""
    calls: list[Settings] = []
    monkeypatch.setattr("instantstyle.studio.run_studio", lambda settings, on_open: calls.append(settings))
    return calls


def test_by_default_the_studio_listens_on_localhost(run, opened):
    assert run("studio").code == 0
    [settings] = opened
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 7860, "mini")


def test_options_become_settings(run, opened, tmp_path):
    assert run("studio", "--device", "cpu", "--port", 0, "--looks", 3, "--folder", tmp_path).code == 0
    [settings] = opened
    assert (settings.device, settings.port, settings.previews, settings.folder) == ("cpu", 0, 3, tmp_path)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (None, "On 0.0.0.0 other machines can reach the studio, and it has no password"),
        ("short", "is too short"),
    ],
)
def test_another_host_without_a_password_is_refused(run, monkeypatch, password, reason):
    monkeypatch.delenv("INSTANTSTYLE_STUDIO_PASSWORD", raising=False)
    if password:
        monkeypatch.setenv("INSTANTSTYLE_STUDIO_PASSWORD", password)
    outcome = run("studio", "--host", "0.0.0.0", "--model", "nowhere")
    assert outcome.code == 2
    assert reason in outcome.err


def test_a_missing_gradio_is_refused_with_the_install_command(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    outcome = run("studio", "--model", "nowhere")
    assert outcome.code == 2
    assert "The studio needs gradio, which is not installed: pip install 'instantstyle[studio]'" in outcome.err


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [("lms", "scheduler 'lms' needs the package scipy, which is not installed"), ("no", "There is no scheduler 'no'")],
)
def test_a_scheduler_that_cannot_be_built_is_refused_before_the_model_is_loaded(run, monkeypatch, scheduler, reason):
    monkeypatch.setitem(sys.modules, "scipy", None)
    outcome = run("studio", "--model", "nowhere", "--scheduler", scheduler)
    assert (outcome.code, reason in outcome.err) == (2, True)
