"""The page: its two halves laid out, its buttons wired, and the door that it is served behind."""

from html import escape
from typing import Any

import gradio as gr

from .. import __version__
from ..errors import JobError
from . import input_panel as forms
from . import output_panel as stages
from .actions import Actions
from .easel import Easel
from .form_events import FormEvents, toggled
from .image_store import ImageStore
from .output_panel import OutputPanel
from .settings import NAME, Settings
from .theme import CSS, theme

UPLOAD = "32mb"
"""Of a file that is sent: as the service reads."""


def opened(easel: Easel) -> gr.Blocks:
    """Served, and nobody told of it but those who ask here."""
    settings, keep = easel.settings, ImageStore(easel.settings.folder)
    page = page_for(easel, keep)
    try:
        _launch(page, settings)
    except OSError as fault:
        raise JobError(
            f"The studio cannot listen on {settings.host}, port {settings.port} ({_one_line(fault)}); "
            "give another --port, or 0 for any that is free."
        ) from None
    return page


def _launch(page: gr.Blocks, settings: Settings) -> None:
    page.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        inbrowser=settings.browser,
        auth=(NAME, settings.password) if settings.password else None,
        allowed_paths=[str(settings.folder.absolute())],
        max_file_size=UPLOAD,
        theme=theme(),
        css_paths=[CSS],
        footer_links=[],
        prevent_thread_lock=True,
        # What Gradio would do by itself, or where its variables say so: none of it is wanted here.
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        quiet=True,
    )


def page_for(easel: Easel, keep: ImageStore) -> gr.Blocks:
    """The page around a model."""
    # A day: what is sent and looked at meanwhile lies in Gradio's own folder.
    with gr.Blocks(title="instantstyle studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(_masthead(easel))
        with gr.Row(elem_id="main", equal_height=False):
            with gr.Column(elem_id="ask"):
                asked = forms.ask()
            with gr.Column(elem_id="stage"):
                stage = stages.output_panel(keep.remove)
            with gr.Column(elem_id="settings"):
                architecture = easel.styled.architecture
                settings = forms.settings([*architecture.roles, "all", *map(str, architecture.blocks)])
        history = stages.history()
        form = forms.form(asked, settings)
        _wire_drawing(page, Actions(easel, keep, form, stage, history), f"easel on {easel.device}")
        _wire_filling(page, FormEvents(easel, keep, form), stage, f"easel on {easel.device}")
    return page


def _wire_drawing(page: gr.Blocks, actions: Actions, device: str) -> None:
    form, stage, history = actions.form, actions.stage, actions.history
    on_stage = [stage.picture, stage.caption, stage.download, stage.reuse, stage.recipe, stage.current]
    remembered = [history.names, history.heading, history.gallery]
    ended = [form.status, form.cancel]
    at_easel = _at_easel(device)
    drawing = gr.on(
        [form.draw.click, form.prompt.submit],
        actions.draw,
        [history.names, stage.current, *form.inputs],
        [*on_stage, *remembered, *ended, form.seed],
        **at_easel,
    )
    strips = [
        button.click(
            action,
            [stage.beside, stage.current, *form.inputs],
            [*on_stage, *ended, stage.strip, stage.beside, form.seed],
            **at_easel,
        )
        for button, action in ((stage.compare, actions.compare), (stage.sweep, actions.sweep))
    ]
    outputs = [*on_stage, *ended]
    form.cancel.click(actions.cancel, stage.current, outputs, cancels=[drawing, *strips], **_AT_ONCE)
    page.unload(actions.leave)
    page.load(actions.back, history.names, [*on_stage, *remembered], **_AT_ONCE)
    history.gallery.select(actions.pick, history.names, on_stage, **_AT_ONCE)
    stage.strip.select(actions.pick, stage.beside, on_stage, **_AT_ONCE)
    forgotten = [*on_stage, *remembered, stage.strip, stage.beside]
    history.clear.click(actions.forget, [history.names, stage.beside], forgotten, **_AT_ONCE)


def _wire_filling(page: gr.Blocks, filling: FormEvents, stage: OutputPanel, device: str) -> None:
    form = filling.form
    at_easel = _at_easel(device)
    seen = [form.status, form.rest, form.content, *form.hints]
    gr.on([form.picture.upload, form.picture.clear], filling.seen, form.picture, seen, **at_easel)
    for hint in form.hints:
        hint.click(toggled, [hint, form.content], form.content, **_AT_ONCE)
    form.source.change(filling.placed, form.source, [*form.places.values()], **_AT_ONCE)
    # Another style than the restored picture's: what the page does not show of that one ends with it.
    gr.on(
        [form.source.input, form.saved.input, form.first.input, form.second.input],
        lambda: None,
        None,
        form.rest,
        **_AT_ONCE,
    )
    listed = [form.saved, form.first, form.second]
    form.save.click(filling.saved, [form.style_name, *form.inputs], [form.status, *listed], **at_easel)
    page.load(filling.listed, None, listed, **_AT_ONCE)
    filled = [*form.inputs, *form.hints, *form.places.values(), form.status]
    form.made.upload(filling.given_back, form.made, filled, **_AT_ONCE)
    stage.reuse.click(filling.again, stage.current, filled, **_AT_ONCE)


# Files as they were sent: Gradio would convert a picture on its way in, and its fingerprint with it.
_QUIETLY: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
_AT_ONCE: dict[str, Any] = {**_QUIETLY, "queue": False}


def _at_easel(device: str) -> dict[str, Any]:
    """One after the other on a device."""
    waiting = {"concurrency_id": device, "concurrency_limit": 1}
    # By default a press is lost while Gradio takes the one before it for unfinished, as after a cancel.
    return {**_QUIETLY, **waiting, "trigger_mode": "multiple"}


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())


def _masthead(easel: Easel) -> str:
    model = escape(f"{easel.settings.model} on {easel.device} · {__version__}")
    words = "<h1>instantstyle</h1><p>The style of a picture, without its subject.</p>"
    return f'<header id="masthead">{words}<p class="model">{model}</p></header>'
