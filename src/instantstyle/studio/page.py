"""The page: the layout of its components, the events that connect them, and the server that serves it."""

from typing import Literal, TypedDict

import gradio as gr
from gradio.events import Dependency

from ..errors import JobError
from ..generation.worker import ModelWorker
from ..utils.text import one_line
from .actions import Actions
from .form_events import FormEvents, toggle_phrase
from .html import render_masthead
from .image_store import ImageStore
from .input_panel import Form, build_settings_inputs, build_style_inputs
from .output_panel import OutputPanel, build_history, build_output_panel
from .settings import USER_NAME, Settings
from .theme import CSS, build_theme

MAX_UPLOAD = "32mb"
"""Largest file that can be uploaded, as in the server."""


class EventOptions(TypedDict, total=False):
    """Options of an event, as Gradio's listeners accept them."""

    preprocess: bool
    show_progress: Literal["full", "minimal", "hidden"]
    api_visibility: Literal["public", "private", "undocumented"]
    queue: bool
    concurrency_id: str
    concurrency_limit: int
    trigger_mode: Literal["once", "multiple", "always_last"]


# Without preprocessing, because Gradio would convert an uploaded image, which changes its SHA-256.
_OPTIONS: EventOptions = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
_UNQUEUED: EventOptions = {**_OPTIONS, "queue": False}


def launch_page(worker: ModelWorker, settings: Settings) -> gr.Blocks:
    """Build the page and serve it in a thread of its own.

    Args:
        worker: The model.
        settings: Address, password and files of the studio.

    Returns:
        The page; `local_url` is its address.

    Raises:
        JobError: The address cannot be listened on, for example because the port is in use.
    """
    page = build_page(worker, settings, ImageStore(settings.folder))
    try:
        page.launch(
            server_name=settings.host,
            server_port=settings.port or None,
            inbrowser=settings.browser,
            auth=(USER_NAME, settings.password) if settings.password else None,
            allowed_paths=[str(settings.folder.absolute())],
            max_file_size=MAX_UPLOAD,
            theme=build_theme(),
            css_paths=[CSS],
            footer_links=[],
            prevent_thread_lock=True,
            # Explicitly off: Gradio enables these by default or by environment variables.
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            quiet=True,
        )
    except OSError as error:
        raise JobError(
            f"The studio cannot listen on {settings.host}, port {settings.port} ({one_line(error)}); "
            "set another --port, or 0 for any free one."
        ) from None
    return page


def build_page(worker: ModelWorker, settings: Settings, store: ImageStore) -> gr.Blocks:
    """Build the page.

    Args:
        worker: The model; events that need it wait for each other.
        settings: Settings of the studio.
        store: Where images are kept.

    Returns:
        The page, which is not served yet.
    """
    # Gradio checks its own copies of uploaded and displayed files hourly, and deletes them after a day.
    with gr.Blocks(title="instantstyle studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(render_masthead(settings.model, worker.device))
        with gr.Row(elem_id="main", equal_height=False):
            with gr.Column(elem_id="inputs"):
                style_inputs = build_style_inputs()
            with gr.Column(elem_id="output"):
                output = build_output_panel(store.remove_images)
            with gr.Column(elem_id="settings"):
                architecture = worker.styled.architecture
                blocks = [*architecture.roles, "all", *map(str, architecture.blocks)]
                form = Form(**style_inputs, **build_settings_inputs(blocks))
        actions = Actions(worker, settings, store, form, output, build_history())
        # Gradio drops a click while it regards the previous event as unfinished, as after a cancellation;
        # the trigger mode `multiple` accepts it.
        on_model: EventOptions = {
            **_OPTIONS,
            "concurrency_id": f"model on {worker.device}",
            "concurrency_limit": 1,
            "trigger_mode": "multiple",
        }
        _connect_actions(page, actions, on_model)
        _connect_form_events(page, FormEvents(worker, settings, store, form), output, on_model)
    return page


def _connect_actions(page: gr.Blocks, actions: Actions, on_model: EventOptions) -> None:
    form, output, history = actions.form, actions.output, actions.history
    displayed = [
        output.image,
        output.caption,
        output.download,
        output.reuse,
        output.recipe,
        output.current,
    ]
    remembered = [history.names, history.heading, history.gallery]
    ended = [form.status, form.cancel]
    generation = gr.on(
        [form.generate.click, form.prompt.submit],
        actions.generate,
        [history.names, output.current, *form.inputs],
        [*displayed, *remembered, *ended, form.seed],
        **on_model,
    )
    comparisons: list[Dependency] = [
        button.click(
            action,
            [output.compared, output.current, *form.inputs],
            [*displayed, *ended, output.comparison, output.compared, form.seed],
            **on_model,
        )
        for button, action in ((output.compare, actions.compare), (output.sweep, actions.sweep))
    ]
    form.cancel.click(
        actions.cancel,
        output.current,
        [*displayed, *ended],
        cancels=[generation, *comparisons],
        **_UNQUEUED,
    )
    page.unload(actions.end_session)
    page.load(actions.load_history, history.names, [*displayed, *remembered], **_UNQUEUED)
    history.gallery.select(actions.select, history.names, displayed, **_UNQUEUED)
    output.comparison.select(actions.select, output.compared, displayed, **_UNQUEUED)
    history.clear.click(
        actions.clear_history,
        [history.names, output.compared],
        [*displayed, *remembered, output.comparison, output.compared],
        **_UNQUEUED,
    )


def _connect_form_events(page: gr.Blocks, events: FormEvents, output: OutputPanel, on_model: EventOptions) -> None:
    form = events.form
    gr.on(
        [form.image.upload, form.image.clear],
        events.suggest_content,
        form.image,
        [form.status, form.restored_recipe, form.content, *form.suggestions],
        **on_model,
    )
    for suggestion in form.suggestions:
        suggestion.click(toggle_phrase, [suggestion, form.content], form.content, **_UNQUEUED)
    form.source.change(events.show_source, form.source, [*form.source_groups.values()], **_UNQUEUED)
    # The restored recipe keeps settings of its style that have no field; selecting another style drops them.
    gr.on(
        [form.source.input, form.saved.input, form.first.input, form.second.input],
        lambda: None,
        None,
        form.restored_recipe,
        **_UNQUEUED,
    )
    library = [form.saved, form.first, form.second]
    form.save_style.click(events.save_style, [form.style_name, *form.inputs], [form.status, *library], **on_model)
    page.load(events.refresh_library, None, library, **_UNQUEUED)
    restored = [*form.inputs, *form.suggestions, *form.source_groups.values(), form.status]
    form.recipe_image.upload(events.restore_from_upload, form.recipe_image, restored, **_UNQUEUED)
    output.reuse.click(events.restore_from_current, output.current, restored, **_UNQUEUED)
