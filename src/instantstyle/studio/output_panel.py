"""The generated image with its comparison, and the history of images."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True)
class OutputPanel:
    """Components that display an image and what can be done with it."""

    image: gr.Image
    caption: gr.HTML
    actual_size: gr.Checkbox
    """Whether a pixel of the image is displayed as one pixel of the page, instead of filling the panel."""
    download: gr.DownloadButton
    reuse: gr.Button
    compare: gr.Button
    sweep: gr.Button
    comparison: gr.Gallery
    recipe: gr.JSON
    current: gr.State
    """Name of the image that is displayed."""
    compared: gr.State
    """Names of the images in the comparison."""


@dataclass(frozen=True)
class History:
    """Components that display the images generated before. The browser stores their names."""

    names: gr.BrowserState
    heading: gr.Row
    gallery: gr.Gallery
    clear: gr.Button


def build_output_panel(delete_images: Callable[[list[str]], None]) -> OutputPanel:
    """Build the components for the image, its comparison and its recipe.

    Args:
        delete_images: Called with the names of the images in a comparison once its session has expired.
    """
    image = gr.Image(
        label="Image",
        show_label=False,
        type="filepath",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="image",
    )
    with gr.Row(elem_id="below-image"):
        caption = gr.HTML(elem_id="caption")
        actual_size = gr.Checkbox(label="Actual size", min_width=110, scale=0, elem_id="actual-size")
    with gr.Row(elem_id="actions"):
        download = gr.DownloadButton("Download", interactive=False, min_width=110, elem_id="download")
        reuse = gr.Button("Use settings", interactive=False, min_width=140, elem_id="reuse")
        compare = gr.Button("Compare methods", min_width=150, elem_id="compare")
        sweep = gr.Button("Compare strengths", min_width=150, elem_id="sweep")
    comparison = _build_gallery("Comparison", columns=4, elem_id="comparison")
    with gr.Accordion("Recipe", open=False, elem_id="recipe"):
        recipe = gr.JSON(show_label=False, open=True)
    return OutputPanel(
        image,
        caption,
        actual_size,
        download,
        reuse,
        compare,
        sweep,
        comparison,
        recipe,
        current=gr.State(None),
        compared=gr.State([], delete_callback=delete_images),
    )


def build_history() -> History:
    """Build the components for the images generated before."""
    # In the browser, so that each user has a history of their own; the images are in the image store.
    names = gr.BrowserState([], storage_key="instantstyle-history", secret="instantstyle")
    with gr.Row(visible=False, elem_id="history-heading") as heading:
        gr.HTML("<h2>History</h2>")
        clear = gr.Button("Clear history", size="sm", scale=0, min_width=120, elem_id="clear")
    gallery = _build_gallery("History", columns=8, elem_id="history")
    return History(names, heading, gallery, clear)


def _build_gallery(label: str, columns: int, elem_id: str) -> gr.Gallery:
    """Build a gallery of selectable images that is hidden while it is empty."""
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
