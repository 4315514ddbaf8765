"""The fields of the page: each is called as in `Asked`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from ..core.style_library import list_names
from ..recipe import CROPS
from .form_values import MIX, PICTURE, SAVED, FormValues

SOURCES = [("A picture", PICTURE), ("A saved style", SAVED), ("Two mixed", MIX)]
REMOVALS = [("as usual", ""), *((name, name) for name in ("subtract", "project", "mask", "clean"))]
HINTS = 3
"""Phrases that are proposed for what a reference shows."""


@dataclass(frozen=True)
class Form:
    """All that is asked with, and what helps to fill it in."""

    by_name: dict[str, Any]
    """A component for each of `Asked`'s fields."""
    hints: Sequence[gr.Button]
    draw: gr.Button
    cancel: gr.Button
    status: gr.HTML
    places: dict[str, gr.Group]
    """What is shown for each source."""
    style_name: gr.Textbox
    save: gr.Button
    made: gr.File

    @property
    def inputs(self) -> list[Any]:
        """In the order of `Asked`'s fields."""
        return [self.by_name[field.name] for field in fields(FormValues)]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["by_name"][name]
        except KeyError:
            raise AttributeError(name) from None


def ask() -> dict[str, Any]:
    """What every picture needs: a style, what of it is not wanted, and words."""
    made: dict[str, Any] = {}
    made["source"] = gr.Radio(SOURCES, value=PICTURE, label="Style of", elem_classes="segments")
    made["places"] = {PICTURE: gr.Group(), SAVED: gr.Group(visible=False), MIX: gr.Group(visible=False)}
    with made["places"][PICTURE]:
        made["picture"] = gr.Image(
            type="filepath",
            sources=["upload"],
            label="Reference",
            show_label=False,
            height=200,
            placeholder="Drop a picture whose style you want",
            buttons=[],
            elem_id="reference",
        )
    library = list_names()
    with made["places"][SAVED]:
        made["saved"] = gr.Dropdown(library, value=None, label="Saved style", info=of_library(library))
    with made["places"][MIX]:
        with gr.Row():
            made["first"] = gr.Dropdown(library, value=None, label="First style", min_width=120)
            made["second"] = gr.Dropdown(library, value=None, label="Second style", min_width=120)
        made["share"] = gr.Slider(0, 1, 0.5, step=0.05, label="From the first to the second")
    made["content"] = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,
        label="What it shows, to be left out",
        elem_id="content",
    )
    with gr.Row(elem_id="hints"):
        made["hints"] = [gr.Button(visible=False, size="sm", min_width=60) for _ in range(HINTS)]
    made["prompt"] = gr.Textbox(
        label="Prompt", placeholder="a rocket", lines=1, max_lines=4, autofocus=True, elem_id="prompt"
    )
    with gr.Row(elem_id="go"):
        made["draw"] = gr.Button("Draw", variant="primary", scale=3, elem_id="draw")
        made["cancel"] = gr.Button("Cancel", interactive=False, scale=1, min_width=90, elem_id="cancel")
    made["status"] = gr.HTML(elem_id="status")
    return made


def settings(blocks: Sequence[str]) -> dict[str, Any]:
    """How it is drawn; nothing of it has to be touched."""
    made: dict[str, Any] = {}
    made["scale"] = gr.Slider(0, 2, 1, step=0.05, label="Scale", info="How strongly the style acts")
    with gr.Row(elem_id="seeds"):
        made["seed"] = gr.Textbox(label="Seed", placeholder="a new one", min_width=120, scale=2)
        made["locked"] = gr.Checkbox(label="Lock seed", min_width=110, scale=1, elem_id="lock")
    with gr.Accordion("More settings", open=False):
        _more(made, blocks)
    with gr.Accordion("Save this style", open=False):
        made["style_name"] = gr.Textbox(label="Name", placeholder="ink", elem_id="style-name")
        made["save"] = gr.Button("Save style", elem_id="save-style")
    with gr.Accordion("Restore a picture's settings", open=False):
        made["made"] = gr.File(
            label="A picture made here",
            show_label=False,
            file_types=[".png"],
            height=110,
            elem_id="made",
        )
    made["rest"] = gr.State(None)
    return made


def form(asked: dict[str, Any], settings: dict[str, Any]) -> Form:
    """Both parts as one."""
    both = {**asked, **settings}
    own = {field.name for field in fields(Form)} - {"by_name"}
    return Form({name: both[name] for name in both if name not in own}, **{name: both[name] for name in own})


def _more(made: dict[str, Any], blocks: Sequence[str]) -> None:
    made["blocks"] = gr.Dropdown(
        [*blocks], value="style", allow_custom_value=True, label="Blocks", info="Where the style acts"
    )
    with gr.Row():
        made["removal"] = gr.Dropdown(REMOVALS, value="", label="Content leaves by", min_width=120)
        made["content_scale"] = gr.Textbox(
            label="How much of it", placeholder="as usual, or auto", min_width=120
        )
    with gr.Row():
        made["start"] = gr.Slider(0, 1, 0, step=0.05, label="Style from", min_width=120)
        made["end"] = gr.Slider(0, 1, 1, step=0.05, label="Style until", min_width=120)
    made["crop"] = gr.Dropdown([*CROPS], value="center", label="Crop of the reference")
    made["negative_prompt"] = gr.Textbox(label="Negative prompt")
    with gr.Row():
        made["num_inference_steps"] = gr.Textbox(label="Steps", placeholder="as usual", min_width=90)
        made["guidance_scale"] = gr.Textbox(label="Guidance", placeholder="as usual", min_width=90)
    with gr.Row():
        made["width"] = gr.Textbox(label="Width", placeholder="as usual", min_width=90)
        made["height"] = gr.Textbox(label="Height", placeholder="as usual", min_width=90)


def of_library(library: Sequence[str]) -> str | None:
    """What is said where nothing can be picked."""
    return None if library else "None is saved yet: drop a picture, and save its style."
