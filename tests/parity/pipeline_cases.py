"""A tiny pipeline of every class of diffusers that has an IP-Adapter, and of the others that can be styled.

The table is what `pipelines_page` writes into docs/pipelines.md, and `test_every_pipeline` runs every row.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers.loaders import IPAdapterMixin
from diffusers.models.attention_processor import AttnProcessor2_0

from ..conftest import base_projection, plus_projection
from .pipeline_components import (
    Family,
    Parts,
    animated,
    animated_sdxl,
    consistency,
    deep,
    depth,
    edited,
    edited_sdxl,
    instructed,
    invert_photo,
    kolors,
    make_controlnet,
    make_sparse_controlnet,
    make_t2i_adapter,
    make_union,
    personal,
    sd15,
    sdxl,
)
from .test_other_pipelines import LEFT, PHOTO, t2i_adapter

SIZE: dict[str, Any] = {"height": 16, "width": 16}
IMAGE: dict[str, Any] = {"image": PHOTO, "strength": 0.9}
MASK: dict[str, Any] = {**IMAGE, "mask_image": LEFT, **SIZE}
CONTROL: dict[str, Any] = {"image": PHOTO, **SIZE}
CONTROL_IMAGE: dict[str, Any] = {"control_image": PHOTO}
UNION: dict[str, Any] = {"control_image": [PHOTO], "control_mode": [0]}
VIDEO: dict[str, Any] = {"num_frames": 2, **SIZE}
FRAMES: dict[str, Any] = {"video": [PHOTO] * 2, "strength": 0.9, **SIZE}
CONDITIONED: dict[str, Any] = {"conditioning_frames": [PHOTO] * 2}
DEPTH: dict[str, Any] = {**IMAGE, "depth_map": torch.linspace(-1, 1, 64).view(1, 8, 8)}
EDIT: dict[str, Any] = {"editing_prompt": ["b"], "use_cross_attn_mask": False, "use_intersect_mask": False}


Route = Literal["image", "embeds", "rows"]
"""How diffusers' adapter gets its picture: by `ip_adapter_image`; by `ip_adapter_image_embeds`; or, where the pipeline
has no argument for it that works, its layers get the picture of each row from the test."""

ALL = ((2, True), (1, False), (1, True), (2, False))
"""Number of pictures, and whether they are guided. The first cell is in every run, the others are slow tests."""


@dataclass(frozen=True)
class Case:
    """How a pipeline of a class is made and called.

    Attributes:
        family: Function that makes the components, from a folder with a tokenizer.
        inputs: Arguments of a call.
        parts: Functions that make further components from those of the family, by their names.
        route: How diffusers' adapter gets its picture.
        projection: Function that makes the adapter's projection.
        prepare: Called with the pipeline before it is called.
        cells: Number of pictures and guidance of each comparison; the first is compared in every run.
        several: What two pictures are: two `images` or two `prompts` of a call, or two `edits` of one image.
        references: Parts of a guided batch with the reference, for `route="rows"`.
        note: What is special, for the page.
    """

    family: Family
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parts: Mapping[str, Callable[[Parts], Any]] = field(default_factory=dict[str, Any])
    route: Route = "image"
    projection: Callable[[], dict[str, torch.Tensor]] = base_projection
    prepare: Callable[[Any], None] | None = None
    cells: Sequence[tuple[int, bool]] = ALL
    several: Literal["images", "prompts", "edits"] = "images"
    references: int = 1
    note: str = ""

    def rows(self, images: int, guided: bool) -> tuple[str, ...]:
        """Return the pictures of the parts of a batch, for `route="rows"`."""
        references = ("reference",) * (images if self.several == "edits" else self.references)
        return ("none", *references) if guided else references


CONTROLLED = {"controlnet": make_controlnet}
UNITED = {"controlnet": make_union}
PATCHES = "compared with a Plus adapter: it hands patch features to every adapter"
BY_ROWS: dict[str, Any] = {"route": "rows", "note": "its call takes no picture: the adapter's layers get the rows"}
VIDEOS: dict[str, Any] = {
    "route": "embeds",
    "several": "prompts",
    "note": "two videos are two prompts: `num_videos_per_prompt` has no effect",
}
ONE_VIDEO: dict[str, Any] = {"cells": ((1, True), (1, False)), "note": "one video a call"}
EDITS: dict[str, Any] = {"prepare": invert_photo, "cells": ((2, True), (1, True)), "several": "edits", "route": "rows"}
CASES: dict[str, Case] = {
    "AltDiffusionImg2ImgPipeline": Case(sd15, IMAGE, projection=plus_projection, note=PATCHES),
    "AltDiffusionPipeline": Case(sd15, SIZE, projection=plus_projection, note=PATCHES),
    "AnimateDiffControlNetPipeline": Case(animated, VIDEO | CONDITIONED, CONTROLLED, **ONE_VIDEO),
    "AnimateDiffPAGPipeline": Case(animated, VIDEO, **VIDEOS),
    "AnimateDiffPipeline": Case(animated, VIDEO, **VIDEOS),
    "AnimateDiffSDXLPipeline": Case(animated_sdxl, VIDEO, **VIDEOS),
    "AnimateDiffSparseControlNetPipeline": Case(
        animated, {**VIDEO, "conditioning_frames": [PHOTO]}, {"controlnet": make_sparse_controlnet}, **VIDEOS
    ),
    "AnimateDiffVideoToVideoControlNetPipeline": Case(animated, FRAMES | CONDITIONED, CONTROLLED, **ONE_VIDEO),
    "AnimateDiffVideoToVideoPipeline": Case(animated, FRAMES, **ONE_VIDEO),
    "KolorsImg2ImgPipeline": Case(kolors, IMAGE),
    "KolorsPAGPipeline": Case(
        kolors, SIZE, route="rows", references=2, note="`ip_adapter_image` raises a TypeError: its layers get the rows"
    ),
    "KolorsPipeline": Case(kolors, SIZE),
    "LEditsPPPipelineStableDiffusion": Case(edited, EDIT, **EDITS, note="takes no `ip_adapter_image`"),
    "LEditsPPPipelineStableDiffusionXL": Case(
        edited_sdxl,
        EDIT,
        **EDITS,
        note="its `encode_image` is that of the VAE, so that `ip_adapter_image` raises an error",
    ),
    "LatentConsistencyModelImg2ImgPipeline": Case(consistency, IMAGE),
    "LatentConsistencyModelPipeline": Case(consistency, SIZE),
    "PIAPipeline": Case(personal, {**VIDEO, "image": PHOTO}, **VIDEOS),
    "StableDiffusionAdapterPipeline": Case(sd15, CONTROL, {"adapter": make_t2i_adapter}, **BY_ROWS),
    "StableDiffusionControlNetImg2ImgPipeline": Case(sd15, IMAGE | CONTROL_IMAGE | SIZE, CONTROLLED),
    "StableDiffusionControlNetInpaintPipeline": Case(sd15, MASK | CONTROL_IMAGE, CONTROLLED),
    "StableDiffusionControlNetPAGInpaintPipeline": Case(sd15, MASK | CONTROL_IMAGE, CONTROLLED),
    "StableDiffusionControlNetPAGPipeline": Case(sd15, CONTROL, CONTROLLED),
    "StableDiffusionControlNetPipeline": Case(sd15, CONTROL, CONTROLLED),
    "StableDiffusionDepth2ImgPipeline": Case(depth, {**IMAGE, "depth_map": torch.rand(1, 8, 8)}, **BY_ROWS),
    "StableDiffusionImg2ImgPipeline": Case(sd15, IMAGE),
    "StableDiffusionInpaintPipeline": Case(sd15, MASK),
    "StableDiffusionInstructPix2PixPipeline": Case(instructed, {"image": PHOTO}),
    "StableDiffusionLDM3DPipeline": Case(
        deep, {**SIZE, "output_type": "np"}, note="compared by its colours: it returns no latents"
    ),
    "StableDiffusionPAGImg2ImgPipeline": Case(sd15, IMAGE),
    "StableDiffusionPAGInpaintPipeline": Case(sd15, MASK),
    "StableDiffusionPAGPipeline": Case(sd15, SIZE),
    "StableDiffusionPanoramaPipeline": Case(
        sd15,
        SIZE,
        route="rows",
        cells=((1, True), (1, False), (2, False)),
        note="its own adapter has no unconditional rows; two guided pictures in a call are refused",
    ),
    "StableDiffusionPipeline": Case(sd15, SIZE),
    "StableDiffusionPipelineSafe": Case(sd15, SIZE, projection=plus_projection, note=PATCHES),
    "StableDiffusionXLAdapterPipeline": Case(sdxl, CONTROL, {"adapter": lambda parts: t2i_adapter()}),
    "StableDiffusionXLControlNetImg2ImgPipeline": Case(sdxl, IMAGE | CONTROL_IMAGE | SIZE, CONTROLLED),
    "StableDiffusionXLControlNetInpaintPipeline": Case(sdxl, MASK | CONTROL_IMAGE, CONTROLLED),
    "StableDiffusionXLControlNetPAGImg2ImgPipeline": Case(sdxl, IMAGE | CONTROL_IMAGE | SIZE, CONTROLLED),
    "StableDiffusionXLControlNetPAGPipeline": Case(sdxl, CONTROL, CONTROLLED),
    "StableDiffusionXLControlNetPipeline": Case(sdxl, CONTROL, CONTROLLED),
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": Case(sdxl, IMAGE | UNION | SIZE, UNITED),
    "StableDiffusionXLControlNetUnionInpaintPipeline": Case(sdxl, MASK | UNION, UNITED),
    "StableDiffusionXLControlNetUnionPipeline": Case(sdxl, SIZE | UNION, UNITED),
    "StableDiffusionXLImg2ImgPipeline": Case(sdxl, IMAGE),
    "StableDiffusionXLInpaintPipeline": Case(sdxl, MASK),
    "StableDiffusionXLPAGImg2ImgPipeline": Case(sdxl, IMAGE),
    "StableDiffusionXLPAGInpaintPipeline": Case(sdxl, MASK),
    "StableDiffusionXLPAGPipeline": Case(sdxl, SIZE),
    "StableDiffusionXLPipeline": Case(sdxl, SIZE),
}


def list_adapter_classes() -> set[str]:
    """Find the names of all pipelines of the installed diffusers that have an adapter for UNets."""
    found: set[str] = set()
    for name in dir(diffusers):
        exported = getattr(diffusers, name)
        if inspect.isclass(exported) and issubclass(exported, IPAdapterMixin):
            found.add(name)
    return found


def make_pipeline(name: str, folder: Path, family: Family | None = None) -> Any:
    """Make a pipeline from the components of a family.

    Args:
        name: Name of the class.
        folder: A folder with a tokenizer.
        family: The family; None for that of the case.
    """
    case, cls = CASES.get(name, Case(sd15)), getattr(diffusers, name)
    parts = (family or case.family)(folder)
    parts = parts | {part: make(parts) for part, make in case.parts.items()}
    # Pipelines of perturbed-attention guidance leave their own processors where they return latents.
    parts["unet"].set_attn_processor(AttnProcessor2_0())
    options: Parts = {"requires_safety_checker": False, "pag_applied_layers": ["mid"], "add_watermarker": False}
    parameters = inspect.signature(cls.__init__).parameters
    taken = {part: value for part, value in (options | parts).items() if part in parameters}
    required = [each for each in parameters.values() if each.default is each.empty and each.name != "self"]
    pipe = cls(**{each.name: None for each in required} | taken)
    pipe.set_progress_bar_config(disable=True)
    return pipe
