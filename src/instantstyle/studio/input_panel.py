"""The fields of the page. Their attributes in `Form` are named as the fields of `FormValues`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from ..core.style_library import list_names
from ..recipe_types import CROPS, Fuse, Removal
from .form_values import IMAGE, MIX, SAVED, FormValues
from .html import render_library_hint

SOURCES = [("Image", IMAGE), ("Saved style", SAVED), ("Mix of two", MIX)]
REMOVALS: list[tuple[str, Removal | Literal[""]]] = [
    ("default", ""),
    ("subtract the words", "subtract"),
    ("only along the words", "project"),
    ("only where image and words agree", "mask"),
    ("without words", "clean"),
    ("without words, in each layer", "cleanstyle"),
]
"""Labels of the values of `removal`; docs/removal.md explains each."""
METHODS: list[tuple[str, Fuse]] = [("adding", "add"), ("AdaIN", "adain")]
"""Labels of the values of `fuse`; docs/methods.md explains each."""
NUM_SUGGESTIONS = 3
"""Number of phrases suggested for the content of a reference."""

FormParts = dict[str, Any]
"""Some of the attributes of `Form` by name: components, groups and lists of components."""


@dataclass(frozen=True)
class Form:
    """Components with which a recipe is entered."""

    source: gr.Radio
    image: gr.Image
    saved: gr.Dropdown
    first: gr.Dropdown
    second: gr.Dropdown
    share: gr.Slider
    texture: gr.Image
    colour_scale: gr.Textbox
    texture_scale: gr.Textbox
    colour_transfer: gr.Textbox
    colour_transfer_start: gr.Textbox
    colour_transfer_end: gr.Textbox
    content: gr.Dropdown
    content_image: gr.Image
    photo: gr.Image
    image_scale: gr.Textbox
    prompt: gr.Textbox
    scale: gr.Slider
    blocks: gr.Dropdown
    content_scale: gr.Textbox
    removal: gr.Dropdown
    mask_quantile: gr.Textbox
    crop: gr.Dropdown
    start: gr.Slider
    end: gr.Slider
    fuse: gr.Dropdown
    hold_layout: gr.Slider
    second_scale: gr.Slider
    second_blocks: gr.Dropdown
    redux: gr.Image
    redux_scale: gr.Slider
    redux_blocks: gr.Dropdown
    redux_curve: gr.Textbox
    negative_prompt: gr.Textbox
    seed: gr.Textbox
    locked: gr.Checkbox
    num_inference_steps: gr.Textbox
    guidance_scale: gr.Textbox
    width: gr.Textbox
    height: gr.Textbox
    restored_recipe: gr.State

    source_groups: dict[str, gr.Group]
    """The components of each source; one group is visible at a time."""
    library_hint: gr.HTML
    example: gr.Button
    suggestions: gr.CheckboxGroup
    """Its value is that of `content`, of which it shows the phrases that are suggested."""
    generate: gr.Button
    cancel: gr.Button
    status: gr.HTML
    style_name: gr.Textbox
    save_style: gr.Button
    recipe_image: gr.File
    """An image whose settings are to be restored."""

    @property
    def inputs(self) -> list[Component]:
        """The components of `FormValues`, in the order of its fields."""
        return [getattr(self, field.name) for field in fields(FormValues)]


def _build_upload(label: str, placeholder: str, elem_id: str, height: int = 160) -> gr.Image:
    return gr.Image(
        type="filepath",
        sources=["upload"],
        label=label,
        show_label=False,
        height=height,
        placeholder=placeholder,
        buttons=[],
        elem_id=elem_id,
    )


def _build_row(*numbers: tuple[str, str, str]) -> FormParts:
    """Build a row of numbers that are entered as text.

    Args:
        *numbers: Attribute of `Form`, label and placeholder of each.
    """
    with gr.Row():
        return {
            name: gr.Textbox(label=label, placeholder=placeholder, min_width=90)
            for name, label, placeholder in numbers
        }


def build_style_inputs(redux_blocks: Sequence[str] = ()) -> FormParts:
    """Build the components for style, content and prompt, and the buttons that start and cancel.

    Args:
        redux_blocks: Roles and blocks of FLUX.1 for FLUX.1 Redux, whose components are shown; none hides them.

    Returns:
        A part of the attributes of `Form`.
    """
    built: FormParts = {}
    built["source"] = gr.Radio(SOURCES, value=IMAGE, label="Style from", elem_classes="segments")
    groups = {IMAGE: gr.Group(), SAVED: gr.Group(visible=False), MIX: gr.Group(visible=False)}
    with groups[IMAGE]:
        built["image"] = _build_upload("Reference image", "Drop a reference image", "reference", height=200)
        built["example"] = gr.Button("Try an example", size="sm", elem_id="example")
    library = list_names()
    built["library_hint"] = gr.HTML(render_library_hint(library), visible=False, elem_id="library-hint")
    with groups[SAVED]:
        built["saved"] = gr.Dropdown(library, value=None, label="Saved style")
    with groups[MIX]:
        with gr.Row():
            built["first"] = gr.Dropdown(library, value=None, label="First style", min_width=120)
            built["second"] = gr.Dropdown(library, value=None, label="Second style", min_width=120)
        built["share"] = gr.Slider(0, 1, 0.5, step=0.05, label="Weight of the second style")
    built["source_groups"] = groups
    with gr.Accordion("Texture from another image", open=False, elem_id="texture-from"):
        hint = "Drop an image: its texture, with the colours of the style above"
        built["texture"] = _build_upload("Texture from", hint, "texture")
        built |= _build_row(("colour_scale", "Colours", "1.1"), ("texture_scale", "Texture", "1"))
    built["content"] = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,
        label="Content to remove",
        elem_id="content",
    )
    built["suggestions"] = gr.CheckboxGroup(
        [],
        visible=False,
        label="Suggested content",
        info="With its similarity to the image, at most 1",
        elem_id="suggestions",
    )
    with gr.Accordion("Content shown by an image", open=False, elem_id="content-from"):
        hint = "Drop an image of what is to be removed, in any style"
        built["content_image"] = _build_upload("Content from", hint, "content-image")
    with gr.Accordion("Restyle a photo and keep its content", open=False, elem_id="photo-from"):
        hint = "Drop a photo: it is drawn again, in the style above"
        built["photo"] = _build_upload("Photo", hint, "photo")
        built["image_scale"] = gr.Textbox(
            label="Strength of the photo",
            info="As a reference in all blocks. The image begins with the photo's own noise, so that the seed has no "
            "effect; the prompt says what the photo shows.",
            placeholder="0.2",
        )
    built |= _build_redux(redux_blocks)
    built["prompt"] = gr.Textbox(
        label="Prompt", placeholder="a sailboat", lines=1, max_lines=4, autofocus=True, elem_id="prompt"
    )
    with gr.Row():
        built["generate"] = gr.Button("Generate", variant="primary", scale=3, elem_id="generate")
        built["cancel"] = gr.Button("Cancel", interactive=False, scale=1, min_width=90, elem_id="cancel")
    built["status"] = gr.HTML(elem_id="status")
    return built


def _build_redux(blocks: Sequence[str]) -> FormParts:
    """Build the components of FLUX.1 Redux, which are hidden without blocks."""
    built: FormParts = {}
    with gr.Accordion("An image beside the prompt (Redux)", open=False, visible=bool(blocks), elem_id="redux-from"):
        hint = "Drop an image: FLUX.1 reads it beside the prompt"
        built["redux"] = _build_upload("Image beside the prompt", hint, "redux")
        built["redux_scale"] = gr.Slider(
            0,
            2,
            1,
            step=0.05,
            label="Weight of the image",
            info="1 is FLUX.1 Redux as published, where the tokens of the image outnumber those of the prompt. Less "
            "leaves more to the prompt; 0 leaves the image out.",
            elem_id="redux-scale",
        )
        built["redux_blocks"] = gr.Dropdown(
            [*blocks],
            value="all",
            allow_custom_value=True,
            label="Where the image is read",
            info="Blocks of the network, whatever the adapter reaches",
            elem_id="redux-blocks",
        )
        built["redux_curve"] = gr.Textbox(
            label="Weight over the steps",
            info="Factors on the weight, from the first step to the last: 0:1 comes in, 1:0.5:0 goes out",
            placeholder="1 in all",
            elem_id="redux-curve",
        )
    return built


def build_settings_inputs(blocks: Sequence[str], *, has_second_adapter: bool = False) -> FormParts:
    """Build the components for all other settings. Each has a default.

    Args:
        blocks: Roles and blocks of the model.
        has_second_adapter: Whether to show the settings of a second adapter.

    Returns:
        The attributes of `Form` that `build_style_inputs` does not return.
    """
    built: FormParts = {}
    built["scale"] = gr.Slider(0, 2, 1, step=0.05, label="Strength of the style", elem_id="scale")
    with gr.Row(elem_id="seeds"):
        built["seed"] = gr.Textbox(label="Seed", placeholder="random", min_width=120, scale=2)
        built["locked"] = gr.Checkbox(label="Lock seed", min_width=110, scale=1, elem_id="lock")
    with gr.Accordion("More settings", open=False):
        built["blocks"] = gr.Dropdown(
            [*blocks],
            value="style",
            allow_custom_value=True,
            label="Where the style acts",
            info="Blocks of the network: style, layout, all, or their names",
        )
        built["removal"] = gr.Dropdown(REMOVALS, value="", label="How content is removed")
        built["mask_quantile"] = gr.Textbox(
            label="Share that is kept",
            info="0 to 1, of the elements of the embedding",
            placeholder="default: found by clusters",
            visible=False,
            elem_id="mask-quantile",
        )
        built["content_scale"] = gr.Textbox(label="How much of it is removed", placeholder="default, or auto")
        share = "As a share of the steps"
        built["start"] = gr.Slider(0, 1, 0, step=0.05, label="The style begins at", info=share)
        built["end"] = gr.Slider(0, 1, 1, step=0.05, label="The style ends at", info=share)
        built["fuse"] = gr.Dropdown(
            METHODS,
            value="add",
            label="Method",
            info="Adding puts the attention to the style on that to the prompt. AdaIN gives that to the prompt "
            "the mean and deviation of the other, which keeps more of what the prompt says.",
            elem_id="fuse",
        )
        built["hold_layout"] = gr.Slider(
            0,
            1,
            0,
            step=0.05,
            label="Hold the layout until",
            info="As a share of the steps, such as 0.4: until then the layout is that of the image without the style. "
            "These steps take twice as long.",
            elem_id="hold-layout",
        )
        built["second_scale"] = gr.Slider(
            0,
            2,
            1,
            step=0.05,
            label="Strength of the second adapter",
            info="It adds the style of the same reference in its own way; 0 leaves it out.",
            visible=has_second_adapter,
            elem_id="second-scale",
        )
        built["second_blocks"] = gr.Dropdown(
            [*blocks],
            value="all",
            allow_custom_value=True,
            label="Where the second adapter acts",
            visible=has_second_adapter,
            elem_id="second-blocks",
        )
        built["colour_transfer"] = gr.Textbox(
            label="Colours of the reference in the latents",
            info="0 to 1, in a part of the steps",
            placeholder="none",
        )
        transfer = ("colour_transfer_start", "They get them from", "0.2"), ("colour_transfer_end", "until", "0.3")
        built |= _build_row(*transfer)
        built["crop"] = gr.Dropdown([*CROPS], value="center", label="Crop of the reference")
        built["negative_prompt"] = gr.Textbox(label="Negative prompt")
        usual = "default"
        built |= _build_row(("num_inference_steps", "Steps", usual), ("guidance_scale", "Guidance scale", usual))
        built |= _build_row(("width", "Width", usual), ("height", "Height", usual))
    with gr.Accordion("Save this style", open=False):
        built["style_name"] = gr.Textbox(label="Name", placeholder="ink", elem_id="style-name")
        built["save_style"] = gr.Button("Save style", elem_id="save-style")
    with gr.Accordion("Restore settings from an image", open=False):
        built["recipe_image"] = gr.File(
            label="PNG that contains a recipe",
            show_label=False,
            file_types=[".png"],
            height=140,
            elem_id="recipe-image",
        )
    built["restored_recipe"] = gr.State(None)
    return built
