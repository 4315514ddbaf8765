"""The page as Gradio holds it, before any browser sees it."""

import asyncio

import pytest

from instantstyle import JobError

pytest.importorskip("gradio", reason="the studio is an extra")

from instantstyle.studio import page as pages
from instantstyle.studio.form_events import toggled
from instantstyle.studio.html import caption, status
from instantstyle.studio.page import page_for
from instantstyle.studio.theme import theme


def built(build):
    """In an event loop that runs: Gradio leaves open those that it makes where there is none."""

    async def within():
        return build()

    return asyncio.run(within())


@pytest.fixture
def page(easel, keep):
    return built(lambda: page_for(easel, keep))


def test_all_that_needs_the_model_waits_in_one_line(page):
    waiting = [fn for fn in page.fns.values() if fn.concurrency_id == "easel on cpu"]
    assert {fn.name for fn in waiting} == {"draw", "compare", "sweep", "seen", "saved"}
    assert {fn.concurrency_limit for fn in waiting} == {1}


def test_nothing_is_counted_and_nothing_fetched_from_elsewhere(page):
    assert not page.analytics_enabled
    assert theme()._stylesheets == []


def test_a_port_that_is_taken_is_told_in_words(easel, monkeypatch):
    def taken(*_):
        raise OSError("Cannot find empty port in range: 7860-7860.")

    monkeypatch.setattr(pages, "_launch", taken)
    with pytest.raises(JobError, match=r"cannot listen on 127\.0\.0\.1, port 7860 .*give another --port"):
        built(lambda: pages.opened(easel))


def test_what_a_person_typed_is_text_and_not_markup(easel, reference, keep):
    from instantstyle.recipe import Recipe

    words = caption(Recipe(prompt="<script>", seed=7))
    assert "&lt;script&gt;" in words
    assert "<script>" not in words + status("<script>", fault=True)


def test_a_proposal_is_taken_and_left_again():
    assert toggled("a cat", ["a mat"]) == ["a mat", "a cat"]
    assert toggled("a cat", ["a mat", "a cat"]) == ["a mat"]
