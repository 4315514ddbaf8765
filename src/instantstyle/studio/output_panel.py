"""The other half of the page: the picture, what stands side by side with it, and those made before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class OutputPanel:
    """Where pictures appear."""

    picture: gr.Image
    caption: gr.HTML
    download: gr.DownloadButton
    reuse: gr.Button
    compare: gr.Button
    sweep: gr.Button
    strip: gr.Gallery
    recipe: gr.JSON
    current: gr.State
    """The name of the picture that is shown."""
    beside: gr.State
    """The names of those side by side."""


@dataclass(frozen=True)
class History:
    """Pictures made before; their names stay in the browser."""

    names: gr.BrowserState
    heading: gr.Row
    gallery: gr.Gallery
    clear: gr.Button


def output_panel(forget: Callable[[Any], None]) -> OutputPanel:
    """The picture that is drawn, and what to do with it.

    `forget` is told the names of those side by side when nobody looks at them any more.
    """
    picture = gr.Image(
        label="Picture",
        show_label=False,
        type="filepath",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="picture",
    )
    caption = gr.HTML(elem_id="caption")
    with gr.Row(elem_id="deeds"):
        download = gr.DownloadButton("Download", interactive=False, min_width=110, elem_id="download")
        reuse = gr.Button("Use settings", interactive=False, min_width=140, elem_id="reuse")
        compare = gr.Button("Compare", min_width=110, elem_id="compare")
        sweep = gr.Button("Sweep scale", min_width=130, elem_id="sweep")
    strip = _gallery("Side by side", columns=4, elem_id="strip")
    with gr.Accordion("Recipe", open=False, elem_id="recipe"):
        recipe = gr.JSON(show_label=False, open=True)
    return OutputPanel(
        picture,
        caption,
        download,
        reuse,
        compare,
        sweep,
        strip,
        recipe,
        current=gr.State(None),
        beside=gr.State([], delete_callback=forget),
    )


def history() -> History:
    """Under both halves."""
    # In the browser, so that each person has their own; the pictures themselves are in the keep.
    kept = gr.BrowserState([], storage_key="instantstyle-history", secret="instantstyle")
    with gr.Row(visible=False, elem_id="before") as heading:
        gr.HTML("<h2>Made before</h2>")
        clear = gr.Button("Clear history", size="sm", scale=0, min_width=120, elem_id="clear")
    gallery = _gallery("Made before", columns=8, elem_id="history")
    return History(kept, heading, gallery, clear)


def _gallery(label: str, columns: int, elem_id: str) -> gr.Gallery:
    """Pictures to be chosen from, seen once there are any."""
    return gr.Gallery(
        label=label,
        show_label=False,
        columns=columns,
        fit_columns=False,
        height="auto",
        object_fit="contain",
        interactive=False,
        visible=False,
        allow_preview=False,
        buttons=[],
        elem_id=elem_id,
    )
