"""The page as Gradio builds it, without a browser."""

import time
from types import SimpleNamespace

import pytest

from instantstyle import JobError
from instantstyle.generation.worker import ModelWorker

pytest.importorskip("gradio", reason="the studio is an extra")

from instantstyle.recipe import Recipe
from instantstyle.studio import run_studio
from instantstyle.studio.html import render_caption, render_masthead, render_status
from instantstyle.studio.page import build_page, launch_page
from instantstyle.studio.theme import build_theme

from .conftest import run_in_event_loop


@pytest.fixture
def page(worker, settings, store):
    return run_in_event_loop(lambda: build_page(worker, settings, store))


def test_events_that_need_the_model_wait_in_one_queue(page):
    names = {"generate", "compare", "sweep", "suggest_content", "suggest_content_again", "show_example", "save_style"}
    queued = [fn for fn in page.fns.values() if fn.concurrency_id == "model on cpu"]
    assert {fn.name for fn in queued} == names
    assert {fn.concurrency_limit for fn in queued} == {1}


def test_the_page_sends_no_statistics_and_loads_no_remote_fonts(page):
    assert not page.analytics_enabled
    assert build_theme()._stylesheets == []


def test_a_port_in_use_is_reported(worker, settings, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("Cannot find empty port in range: 7860-7860.")

    monkeypatch.setattr("gradio.Blocks.launch", fail)
    with pytest.raises(JobError, match=r"cannot listen on 127\.0\.0\.1, port 7860 .*set another --port"):
        run_in_event_loop(lambda: launch_page(worker, settings))


def test_a_running_task_is_finished_when_the_page_ends(worker, settings, monkeypatch):
    finished = []

    def interrupt_during_a_task():
        worker.submit(lambda: (time.sleep(0.2), finished.append(True)))
        raise KeyboardInterrupt

    page = SimpleNamespace(local_url="http://127.0.0.1:7860", block_thread=interrupt_during_a_task)
    monkeypatch.setattr(ModelWorker, "load", lambda parts, device, loras, with_redux: worker)
    monkeypatch.setattr("instantstyle.studio.page.launch_page", lambda *args: page)
    with pytest.raises(KeyboardInterrupt):
        run_studio(settings)
    assert finished == [True]
    with pytest.raises(JobError, match="closed"):
        worker.submit(lambda: None)


def test_typed_text_is_escaped():
    caption = render_caption(Recipe(prompt="<script>", seed=7))
    assert "&lt;script&gt;" in caption
    others = render_status("<script>", error=True) + render_masthead("<script>", "cpu")
    assert "<script>" not in caption + others
    assert others.count("&lt;script&gt;") == 2


def test_an_error_is_announced_and_no_message_gives_no_element():
    assert 'role="alert"' in render_status("It failed.", error=True)
    assert 'role="status"' in render_status("Cancelled.")
    warned = render_status("Generated.", warnings=["a <b>", "c"])
    assert '<p role="status" class="status">Generated.</p>' in warned
    assert '<ul role="alert" class="warning"><li>a &lt;b&gt;</li><li>c</li></ul>' in warned
    assert render_status() == ""
