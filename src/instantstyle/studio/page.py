"""The page: the layout of its components, the events that connect them, and the server that serves it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, TypedDict

import gradio as gr
from fastapi import FastAPI
from gradio.blocks import Block
from gradio.events import Dependency

from ..errors import JobError
from ..generation.worker import ModelWorker
from ..models.redux_files import takes_redux
from ..unet.architectures import Architecture
from ..utils.local_guard import LocalGuard
from ..utils.text import one_line
from .actions import Actions
from .form_events import FormEvents
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
            app_kwargs={"lifespan": guard_requests(has_secret=bool(settings.password))},
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


def guard_requests(has_secret: bool) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Create the lifespan of an application that answers requests of other sites' pages with 403.

    The guard is put around the application at its start, before the port opens: Gradio adds middleware of its own
    around any that is given to it, and that would answer requests before the guard sees them.

    Args:
        has_secret: Whether clients have to log in; see `LocalGuard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assert app.middleware_stack is not None
        app.middleware_stack = LocalGuard(app.middleware_stack, has_secret)
        yield

    return lifespan


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
                style_inputs = build_style_inputs(_list_redux_blocks(worker, settings))
            with gr.Column(elem_id="output"):
                output = build_output_panel(store.remove_images)
            with gr.Column(elem_id="settings"):
                architecture = worker.styled.architecture
                blocks = _list_blocks(architecture)
                has_second = settings.second_adapter is not None
                form = Form(**style_inputs, **build_settings_inputs(blocks, has_second_adapter=has_second))
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


def _list_blocks(architecture: Architecture) -> list[str]:
    """List the roles and blocks that can be selected on the page."""
    return [*architecture.roles, "all", *architecture.weights, *map(str, architecture.blocks)]


def _list_redux_blocks(worker: ModelWorker, settings: Settings) -> list[str]:
    """List the roles and blocks for FLUX.1 Redux; none with another model."""
    return _list_blocks(worker.styled.adapter.all_blocks[1]) if takes_redux(settings.model) else []


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
    compared = [output.comparison, output.compared]
    ended = [form.status, form.cancel]
    generation = gr.on(
        [form.generate.click, form.prompt.submit],
        actions.generate,
        [history.names, output.compared, output.current, *form.inputs],
        [*displayed, *remembered, *compared, *ended, form.seed],
        **on_model,
    )
    comparisons: list[Dependency] = [
        button.click(
            action,
            [output.compared, output.current, *form.inputs],
            [*displayed, *compared, *ended, form.seed],
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
    history.gallery.select(
        actions.select_from_history,
        [history.names, output.compared],
        [*displayed, *compared],
        **_UNQUEUED,
    )
    output.comparison.select(actions.select, output.compared, displayed, **_UNQUEUED)
    history.clear.click(
        actions.clear_history,
        [history.names, output.compared],
        [*displayed, *remembered, *compared],
        **_UNQUEUED,
    )


def _connect_form_events(page: gr.Blocks, events: FormEvents, output: OutputPanel, on_model: EventOptions) -> None:
    form = events.form
    sources = [*form.source_groups.values(), form.library_hint]
    library = [form.saved, form.first, form.second, form.library_hint]
    _connect_style_inputs(events, sources, library, on_model)
    saved = [form.status, form.style_name, *library]
    form.save_style.click(events.save_style, [form.style_name, *form.inputs], saved, **on_model)
    page.load(events.refresh_library, None, library, **_UNQUEUED)
    restored = [*form.inputs, form.suggestions, form.example, *sources, form.status]
    for restoration in (
        form.recipe_image.upload(events.restore_from_upload, form.recipe_image, restored, **_UNQUEUED),
        output.reuse.click(events.restore_from_current, output.current, restored, **_UNQUEUED),
    ):
        _suggest_again_after(restoration, events, on_model)
    output.actual_size.input(
        lambda actual: gr.update(elem_classes=["actual-size"] if actual else []),
        output.actual_size,
        output.image,
        **_UNQUEUED,
    )


def _connect_style_inputs(
    events: FormEvents, sources: list[Block], library: list[Block], on_model: EventOptions
) -> None:
    form = events.form
    # What belongs to one reference or style, and is cleared when another one is selected.
    blocks = [form.blocks, form.second_blocks, form.redux_blocks]
    cleared = [form.status, form.restored_recipe, *blocks, form.content, form.content_image, form.suggestions]
    gr.on(
        [form.image.upload, form.image.clear],
        events.suggest_content,
        [form.image, *blocks],
        [*cleared, form.example],
        **on_model,
    )
    form.example.click(events.show_example, blocks, [*cleared, form.example, form.image, form.prompt], **on_model)
    # Both have the same value: a suggestion is selected where its phrase is content.
    for changed, other in ((form.suggestions, form.content), (form.content, form.suggestions)):
        changed.input(lambda phrases: phrases or [], changed, other, **_UNQUEUED)
    form.source.change(events.show_source, form.source, sources, **_UNQUEUED)
    form.removal.change(events.show_quantile, form.removal, form.mask_quantile, **_UNQUEUED)
    switch = form.source.input(
        events.switch_source,
        [form.source, *blocks],
        [form.source, *{*sources, *library}, *cleared],
        **_UNQUEUED,
    )
    _suggest_again_after(switch, events, on_model)
    gr.on(
        [form.saved.input, form.first.input, form.second.input],
        events.switch_style,
        blocks,
        cleared,
        **_UNQUEUED,
    )


def _suggest_again_after(event: Dependency, events: FormEvents, on_model: EventOptions) -> None:
    """Suggest content once the form has its reference; apart from the event, because it waits for the model."""
    form = events.form
    event.then(
        events.suggest_content_again,
        [form.source, form.image, form.content],
        [form.status, form.content, form.suggestions],
        **on_model,
    )
