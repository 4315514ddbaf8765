"""Latents equal those of diffusers' own adapter in every class that has one, and in every other that can be styled."""

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import diffusers
import pytest
import torch
from numpy import ndarray

from instantstyle import InstantStyle, JobError, ModelError
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.row_layout import REFUSED, ROW_LAYOUTS

from ..conftest import layer_weights
from . import flux, sd3
from .diffusers_path import load_adapter
from .pipeline_cases import CASES, list_adapter_classes, make_pipeline
from .pipeline_components import sd15
from .pipelines_page import PAGE, render_page

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:Safety checker disabled"
)

STEPS: dict[str, Any] = {"output_type": "latent"}
GUIDANCE: dict[bool, dict[str, float]] = {
    False: {"guidance_scale": 1.0, "num_inference_steps": 1},
    # Two steps: at the second, keys and values are those that were kept.
    True: {"guidance_scale": 5.0, "pag_scale": 3.0, "image_guidance_scale": 1.5, "num_inference_steps": 2},
}
TOLERANCE = 1e-4
"""Largest difference of latents, in relation to their largest number."""


def select_known(pipe: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that the pipeline's call has."""
    known = inspect.signature(pipe.__call__).parameters
    return {name: value for name, value in arguments.items() if name in known}


def make_generator(pipe: Any) -> dict[str, Any]:
    """Return one generator for all pictures: not every class of diffusers takes one for each."""
    return select_known(pipe, {"generator": torch.Generator().manual_seed(3)})


@contextmanager
def own_adapter(pipe: Any, name: str, state: Any, image_encoder: Any) -> Generator[None]:
    """Load diffusers' own adapter into the pipeline; leave its UNet as it was."""
    unet, image = pipe.unet, (getattr(pipe, "image_encoder", None), getattr(pipe, "feature_extractor", None))
    before = dict(unet.attn_processors), unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
    try:
        if CASES[name].route == "rows":
            unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
        else:
            load_adapter(pipe, state, image_encoder, 1.0)
        yield
    finally:
        processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type = before
        unet.set_attn_processor(processors)
        if CASES[name].route != "rows":
            pipe.image_encoder, pipe.feature_extractor = image


@contextmanager
def pictures_in_rows(unet: Any, pictures: Mapping[str, torch.Tensor], rows: tuple[str, ...]) -> Generator[None]:
    """Give the layers of diffusers' adapter the picture of each row."""

    def add_pictures(network: Any, arguments: Any, named: dict[str, Any]) -> Any:
        batch = len(arguments[0] if arguments else named["sample"])
        stacked = torch.cat([pictures[row].expand(batch // len(rows), -1) for row in rows])
        added = {**(named.get("added_cond_kwargs") or {}), "image_embeds": [stacked[:, None]]}
        return arguments, {**named, "added_cond_kwargs": added}

    handle = unet.register_forward_pre_hook(add_pictures, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def generate_with_diffusers(
    styled: InstantStyle, name: str, reference: Any, images: int, guided: bool, arguments: dict[str, Any]
) -> Any:
    """Generate with diffusers' own adapter, which is loaded."""
    case, pipe = CASES[name], styled.pipe
    embeds = styled.image_encoder.embed([reference])
    pictures = {"reference": embeds, "none": torch.zeros_like(embeds)}
    if case.several == "images":
        arguments |= {"num_images_per_prompt": images}
    if case.route == "rows":
        with pictures_in_rows(pipe.unet, pictures, case.rows(images, guided)):
            return pipe(**select_known(pipe, arguments), **make_generator(pipe))[0]
    if case.route == "image":
        return pipe(**select_known(pipe, {**arguments, "ip_adapter_image": reference}), **make_generator(pipe))[0]
    parts = ("none", "reference") if guided else ("reference",)
    # Several prompts have a row each; several images of a prompt are repeated by the pipeline.
    rows = [pictures[part] for part in parts for _ in range(images if case.several == "prompts" else 1)]
    return pipe(
        **select_known(pipe, {**arguments, "ip_adapter_image_embeds": [torch.stack(rows)]}), **make_generator(pipe)
    )[0]


def compute_difference(found: Any, expected: Any) -> float:
    """Return the largest difference, in relation to the largest number."""
    pairs = [torch.as_tensor(each) if isinstance(each, ndarray | torch.Tensor) else each for each in (found, expected)]
    ours, theirs = pairs
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def compare(
    name: str, folder: Any, image_encoder: Any, reference: Any, cells: Any
) -> tuple[dict[tuple[int, bool], float], float]:
    """Generate with both adapters.

    Returns:
        Difference by cell, and the difference of the plain pipeline in the first cell.
    """
    case, pipe = CASES[name], make_pipeline(name, folder)
    state = {"image_proj": case.projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    if case.prepare is not None:
        case.prepare(pipe)
    calls: dict[tuple[int, bool], dict[str, Any]] = {}
    found: dict[tuple[int, bool], Any] = {}
    plain: Any = None
    for images, guided in cells:
        prompt = ["a"] * images if case.several == "prompts" else "a"
        edits = {"editing_prompt": ["b", "c"][:images]} if case.several == "edits" else {}
        # One step of image-to-image needs the whole schedule.
        strength = {} if guided or "strength" not in case.inputs else {"strength": 1.0}
        arguments = {"prompt": prompt, **STEPS, **GUIDANCE[guided], **case.inputs, **strength, **edits}
        arguments = select_known(pipe, arguments)
        calls[images, guided] = arguments
        own = {**arguments, "num_images_per_prompt": images if case.several == "images" else 1}
        found[images, guided] = styled(style=reference, blocks="all", **own, **make_generator(pipe)).images
        if plain is None:
            plain = styled(**own, **make_generator(pipe)).images
    with own_adapter(pipe, name, state, image_encoder):
        expected = {
            cell: generate_with_diffusers(styled, name, reference, *cell, arguments)
            for cell, arguments in calls.items()
        }
    differences = {cell: compute_difference(found[cell], expected[cell]) for cell in calls}
    return differences, compute_difference(plain, next(iter(expected.values())))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_latents_equal_diffusers(name, tokenizer_folder, image_encoder, reference):
    differences, effect = compare(name, tokenizer_folder, image_encoder, reference, CASES[name].cells[:1])
    assert {cell: found for cell, found in differences.items() if found > TOLERANCE} == {}
    assert effect > 10 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_latents_equal_diffusers_in_the_other_cells(name, tokenizer_folder, image_encoder, reference):
    cells = CASES[name].cells[1:]
    if cells:
        differences, _ = compare(name, tokenizer_folder, image_encoder, reference, cells)
        assert {cell: found for cell, found in differences.items() if found > TOLERANCE} == {}


def test_every_class_of_diffusers_with_an_adapter_is_compared_or_refused():
    assert sorted(list_adapter_classes() - {*CASES, *REFUSED}) == []
    # `test_flux.py` and `test_sd3.py` compare those with a transformer.
    assert sorted({*CASES, *flux.INPUTS, *sd3.INPUTS}) == sorted(ROW_LAYOUTS)
    assert sorted(REFUSED) == sorted({*REFUSED} - {*ROW_LAYOUTS})


def test_several_videos_of_a_prompt_are_refused_where_diffusers_generates_one(tokenizer_folder, image_encoder):
    classes = [getattr(diffusers, name) for name in CASES]
    makes_videos = {
        each.__name__: "num_videos_per_prompt = 1\n" in inspect.getsource(each.__call__)
        for each in classes
        if "num_videos_per_prompt" in inspect.signature(each.__call__).parameters
    }
    assert makes_videos == dict.fromkeys(makes_videos, True)
    pipe = make_pipeline("AnimateDiffPipeline", tokenizer_folder)
    with pytest.raises(JobError, match=r"AnimateDiffPipeline generates one video for each prompt; .*several times"):
        InstantStyle(pipe)("a", num_images_per_prompt=2, **STEPS)
    with pytest.raises(JobError, match=r"num_videos_per_prompt=2 has no effect .*several times"):
        InstantStyle(pipe)("a", num_videos_per_prompt=2, **STEPS)


@pytest.mark.parametrize("name", REFUSED)
def test_other_classes_are_refused_by_name_with_the_reason(name, tokenizer_folder):
    pipe = make_pipeline(name, tokenizer_folder, sd15)
    with pytest.raises(ModelError, match=rf"The batches of {name} are not known \({REFUSED[name]}\)"):
        InstantStyle(pipe)


def test_the_page_of_pipelines_is_that_of_the_tables():
    """`python -m tests.parity.pipelines_page` writes it."""
    assert PAGE.read_text() == render_page()
