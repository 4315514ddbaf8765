"""`instantstyle studio` before the page opens: what it refuses, and what it hands on."""

import sys

import pytest

from instantstyle.studio import Settings


@pytest.fixture
def opened(monkeypatch) -> list[Settings]:
    """The settings with which the studio would have begun."""
    handed: list[Settings] = []
    monkeypatch.setattr("instantstyle.studio.run_studio", lambda settings, on_open: handed.append(settings))
    return handed


def test_by_default_only_this_machine_is_listened_to(run, opened):
    assert run("studio").code == 0
    [settings] = opened
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 7860, "mini")


def test_options_become_settings(run, opened, tmp_path):
    assert run("studio", "--device", "cpu", "--port", 0, "--looks", 3, "--folder", tmp_path).code == 0
    [settings] = opened
    assert (settings.device, settings.port, settings.looks, settings.folder) == ("cpu", 0, 3, tmp_path)


@pytest.mark.parametrize(
    ("password", "told"),
    [(None, "On 0.0.0.0 other machines can reach the studio, and it has no password"), ("short", "is too short")],
)
def test_another_host_without_a_password_is_refused_at_once(run, monkeypatch, password, told):
    monkeypatch.delenv("INSTANTSTYLE_STUDIO_PASSWORD", raising=False)
    if password:
        monkeypatch.setenv("INSTANTSTYLE_STUDIO_PASSWORD", password)
    outcome = run("studio", "--host", "0.0.0.0", "--model", "nowhere")
    assert outcome.code == 2
    assert told in outcome.err


def test_without_gradio_the_install_line_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    outcome = run("studio", "--model", "nowhere")
    assert outcome.code == 2
    assert (
        "The studio needs gradio, which is not installed: pip install 'instantstyle[studio]'" in outcome.err
    )
