"""What the rows of a batch mean: which parts of it are unconditional, for every pipeline class that can be styled."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast, get_args

from ..errors import ModelError

Row = Literal["unconditional", "conditional"]
RowLayout = tuple[Row, ...]
"""The equal parts of a batch, in order. Each part has the rows of all prompts, and of all images of a prompt."""

UNGUIDED: RowLayout = ("conditional",)
GUIDED: RowLayout = ("unconditional", "conditional")
"""Classifier-free guidance, as `torch.cat([negative_prompt_embeds, prompt_embeds])`."""


Variables = Mapping[str, Any]
"""Local variables of a running `__call__`."""

ReadLayout = Callable[[Any, Variables, Mapping[str, Any]], RowLayout]
"""Returns the parts of a batch, from the pipeline, the variables of its running call, and the keyword arguments with
which it calls the network now."""


def _guided(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """Unconditional and conditional; without guidance conditional only."""
    return GUIDED if pipe.do_classifier_free_guidance else UNGUIDED


def _perturbed(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """The same, and the conditional part again for perturbed-attention guidance.

    diffusers' `_prepare_perturbed_attention_guidance`.
    """
    parts = _guided(pipe, variables, arguments)
    return (*parts, "conditional") if pipe.do_perturbed_attention_guidance else parts


def _instructed(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """Text and image; image only; neither: the first is conditional. Without guidance conditional only."""
    return ("conditional", "unconditional", "unconditional") if pipe.do_classifier_free_guidance else UNGUIDED


def _warded(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """Unconditional, conditional, and conditional again for the safety concept; without guidance conditional only.

    The guidance is in local variables.
    """
    if not variables["do_classifier_free_guidance"]:
        return UNGUIDED
    return (*GUIDED, "conditional") if variables["enable_safety_guidance"] else GUIDED


def _edited(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """Unconditional, then a conditional part for each editing prompt."""
    if not pipe.enabled_editing_prompts:
        raise ModelError(
            f"{type(pipe).__name__} without editing_prompt has unconditional parts only, in which a style has no "
            "effect; pass editing_prompt=[…]."
        )
    return ("unconditional", *("conditional",) * pipe.enabled_editing_prompts)


def _called_twice(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """One part a call: of two calls at each step, the one with the negative prompt is unconditional."""
    negative = variables.get("negative_prompt_embeds")
    if negative is not None and variables.get("prompt_embeds") is negative:
        raise ModelError(
            f"{type(pipe).__name__} got one tensor as prompt_embeds and negative_prompt_embeds, so that its "
            "conditional and unconditional calls cannot be told apart; pass a copy: "
            "negative_prompt_embeds=prompt_embeds.clone()."
        )
    is_negative = negative is not None and arguments.get("encoder_hidden_states") is negative
    return ("unconditional",) if is_negative else UNGUIDED


def _guided_or_skipping(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """As `_guided`; a second call at some steps is conditional, that of guidance by skipped layers."""
    return UNGUIDED if arguments.get("skip_layers") is not None else _guided(pipe, variables, arguments)


def _views(pipe: Any, variables: Variables, arguments: Variables) -> RowLayout:
    """Unconditional and conditional for each view, one view after the other; without guidance conditional only.

    Its property `do_classifier_free_guidance` is always False; the guidance is a local variable of that name.
    """
    guided, views = variables["do_classifier_free_guidance"], variables["vb_size"]
    if guided and len(variables["latents"]) > 1:
        raise ModelError(
            f"{type(pipe).__name__} pairs the text and the views of several images wrongly where guidance is on "
            "(diffusers 0.42), so that no row has one meaning. Generate one image a call."
        )
    return (GUIDED if guided else UNGUIDED) * views


ROW_LAYOUTS: dict[str, ReadLayout] = {
    **dict.fromkeys(
        (
            "AltDiffusionImg2ImgPipeline",
            "AltDiffusionPipeline",
            "AnimateDiffControlNetPipeline",
            "AnimateDiffPipeline",
            "AnimateDiffSDXLPipeline",
            "AnimateDiffSparseControlNetPipeline",
            "AnimateDiffVideoToVideoControlNetPipeline",
            "AnimateDiffVideoToVideoPipeline",
            "KolorsImg2ImgPipeline",
            "KolorsPipeline",
            "LatentConsistencyModelImg2ImgPipeline",
            "LatentConsistencyModelPipeline",
            "PIAPipeline",
            "StableDiffusionAdapterPipeline",
            "StableDiffusionControlNetImg2ImgPipeline",
            "StableDiffusionControlNetInpaintPipeline",
            "StableDiffusionControlNetPipeline",
            "StableDiffusionDepth2ImgPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionLDM3DPipeline",
            "StableDiffusionPipeline",
            "StableDiffusionXLAdapterPipeline",
            "StableDiffusionXLControlNetImg2ImgPipeline",
            "StableDiffusionXLControlNetInpaintPipeline",
            "StableDiffusionXLControlNetPipeline",
            "StableDiffusionXLControlNetUnionImg2ImgPipeline",
            "StableDiffusionXLControlNetUnionInpaintPipeline",
            "StableDiffusionXLControlNetUnionPipeline",
            "StableDiffusionXLImg2ImgPipeline",
            "StableDiffusionXLInpaintPipeline",
            "StableDiffusionXLPipeline",
        ),
        _guided,
    ),
    **dict.fromkeys(
        (
            "AnimateDiffPAGPipeline",
            "KolorsPAGPipeline",
            "StableDiffusionControlNetPAGInpaintPipeline",
            "StableDiffusionControlNetPAGPipeline",
            "StableDiffusionPAGImg2ImgPipeline",
            "StableDiffusionPAGInpaintPipeline",
            "StableDiffusionPAGPipeline",
            "StableDiffusionXLControlNetPAGImg2ImgPipeline",
            "StableDiffusionXLControlNetPAGPipeline",
            "StableDiffusionXLPAGImg2ImgPipeline",
            "StableDiffusionXLPAGInpaintPipeline",
            "StableDiffusionXLPAGPipeline",
        ),
        _perturbed,
    ),
    **dict.fromkeys(
        (
            "ChromaImg2ImgPipeline",
            "ChromaInpaintPipeline",
            "ChromaPipeline",
            "FluxControlNetPipeline",
            "FluxImg2ImgPipeline",
            "FluxInpaintPipeline",
            "FluxKontextInpaintPipeline",
            "FluxKontextPipeline",
            "FluxPipeline",
        ),
        _called_twice,
    ),
    **dict.fromkeys(
        (
            "StableDiffusion3ControlNetInpaintingPipeline",
            "StableDiffusion3ControlNetPipeline",
            "StableDiffusion3Img2ImgPipeline",
            "StableDiffusion3InpaintPipeline",
            "StableDiffusion3Pipeline",
        ),
        _guided_or_skipping,
    ),
    "StableDiffusionInstructPix2PixPipeline": _instructed,
    "LEditsPPPipelineStableDiffusion": _edited,
    "LEditsPPPipelineStableDiffusionXL": _edited,
    "StableDiffusionPanoramaPipeline": _views,
    "StableDiffusionPipelineSafe": _warded,
}
"""By class of diffusers 0.42: the layout of its batches, from the pipeline and the variables of its running call."""

REFUSED = {
    "StableDiffusionSAGPipeline": (
        "self-attention guidance calls the UNet twice a step, with all parts and with one, and no variable tells the "
        "calls apart"
    ),
}
"""Classes of diffusers 0.42 with an IP-Adapter that cannot be styled, and why."""

VIEWED = ("StableDiffusionPanoramaPipeline",)
"""Classes whose batches hold parts of an image, so that a mask of the whole image does not fit them."""


def find_known_class(classes: Iterable[type]) -> str | None:
    """Return the name of the first class whose batches are known; a class outside of diffusers is none of them."""
    for cls in classes:
        if cls.__name__ in ROW_LAYOUTS and cls.__module__.startswith("diffusers."):
            return cls.__name__
    return None


def uses_two_parts(name: str) -> bool:
    """Whether batches of this class have an unconditional and a conditional part, or the latter only."""
    return ROW_LAYOUTS[name] is _guided


def calls_twice(name: str) -> bool:
    """Whether pipelines of this class call their network for each half of guidance, rather than with both at once."""
    return ROW_LAYOUTS[name] is _called_twice


def unknown_pipeline_error(name: str) -> ModelError:
    """Build the error for a pipeline whose batches are not known."""
    reason = f" ({REFUSED[name]})" if name in REFUSED else ""
    return ModelError(
        f"The batches of {name} are not known{reason}, so that a style could act in the wrong rows. Use a "
        "pipeline of diffusers that has an IP-Adapter, or name the parts of its batches: InstantStyle(…, "
        'row_layout=("unconditional", "conditional")).'
    )


def validate_row_layout(layout: object) -> RowLayout | None:
    """Check the caller's `row_layout`.

    Args:
        layout: Parts of a batch in order, or None.

    Raises:
        ModelError: It is neither None nor a sequence of `"unconditional"` and `"conditional"`.
    """
    if layout is None:
        return None
    parts = tuple(cast("Iterable[object]", layout)) if isinstance(layout, list | tuple) else ()
    if not parts or any(part not in get_args(Row) for part in parts):
        raise ModelError(
            f"row_layout is {layout!r}; it names the parts of a batch in order, such as "
            '("unconditional", "conditional").'
        )
    return cast(RowLayout, parts)
