"""Latents equal those of diffusers' own adapter where a batch has other parts than two, for one to three images."""

from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    LEditsPPPipelineStableDiffusionXL,
    MotionAdapter,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, ModelError, StyleError
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.row_layout import validate_row_layout

from ..conftest import base_projection, layer_weights, make_pipe
from .diffusers_path import SCALES, load_adapter, seeded_generators
from .test_other_pipelines import PHOTO, SD15_SCALES, make_sd15

SHORT: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent", "height": 16, "width": 16}


def adapter_state(unet: Any) -> dict[str, dict[str, torch.Tensor]]:
    return {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(unet))}


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_pix2pix(folder: Any) -> Any:
    pipe = make_sd15(folder)
    torch.manual_seed(9)
    unet = UNet2DConditionModel(**{**pipe.unet.config, "in_channels": 8}).eval()
    parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    empty: Any = {"safety_checker": None, "feature_extractor": None}
    return quiet(StableDiffusionInstructPix2PixPipeline(**parts, unet=unet, **empty, requires_safety_checker=False))


PIPELINES = {
    "PAG, SDXL": (
        lambda folder: quiet(StableDiffusionXLPAGPipeline.from_pipe(make_pipe(folder), pag_applied_layers=["mid"])),
        SCALES,
        {"guidance_scale": 5.0, "pag_scale": 3.0},
    ),
    "PAG without guidance, SDXL": (
        lambda folder: quiet(StableDiffusionXLPAGPipeline.from_pipe(make_pipe(folder), pag_applied_layers=["mid"])),
        SCALES,
        {"guidance_scale": 1.0, "pag_scale": 3.0},
    ),
    "PAG of scale 0, SDXL": (
        lambda folder: quiet(StableDiffusionXLPAGPipeline.from_pipe(make_pipe(folder), pag_applied_layers=["mid"])),
        SCALES,
        {"guidance_scale": 5.0, "pag_scale": 0.0},
    ),
    "PAG, SD1.5": (
        lambda folder: quiet(StableDiffusionPAGPipeline.from_pipe(make_sd15(folder), pag_applied_layers=["mid"])),
        SD15_SCALES,
        {"guidance_scale": 5.0, "pag_scale": 3.0},
    ),
    "InstructPix2Pix": (
        make_pix2pix,
        SD15_SCALES,
        {"guidance_scale": 5.0, "image_guidance_scale": 1.5, "image": PHOTO},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("name", PIPELINES)
def test_latents_equal_diffusers_in_batches_of_other_parts(tokenizer_folder, image_encoder, reference, name, images):
    """In float64: the size of a batch changes the rounding, which guidance amplifies."""
    make, scales, inputs = PIPELINES[name]
    arguments = {**SHORT, **inputs, "num_images_per_prompt": images}
    if name == "InstructPix2Pix":
        arguments = {key: value for key, value in arguments.items() if key not in ("height", "width")}
        arguments["image"] = [PHOTO] * images
    pipe = make(tokenizer_folder).to(torch.float64)
    state = adapter_state(pipe.unet)
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks="style", seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    theirs = (
        load_adapter(make(tokenizer_folder), state, image_encoder, scales["style"])
        .to(torch.float64)(
            "a", ip_adapter_image=reference, generator=seeded_generators(*range(3, 3 + images)), **arguments
        )
        .images
    )
    assert len(ours) == images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


def make_animatediff(folder: Any) -> Any:
    pipe = make_sd15(folder)
    torch.manual_seed(11)
    motion = MotionAdapter(block_out_channels=(8, 16, 16, 16), motion_norm_num_groups=4, motion_num_attention_heads=2)
    for name, weight in motion.named_parameters():
        # A new motion module adds nothing: its last projection is zero.
        if "proj_out" in name:
            torch.nn.init.normal_(weight, std=0.3)
    parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
    scheduler = DDIMScheduler(clip_sample=False)
    return quiet(AnimateDiffPipeline(**parts, motion_adapter=motion, scheduler=scheduler))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_latents_of_animatediff_equal_diffusers_in_all_frames(tokenizer_folder, image_encoder, reference, guidance):
    """Its motion modules have layers named as cross-attentions, which adapters neither have nor count."""
    arguments = {**SHORT, "num_frames": 3, "guidance_scale": guidance}
    pipe = make_animatediff(tokenizer_folder)
    state = adapter_state(make_sd15(tokenizer_folder).unet)
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks="all", seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    theirs = load_adapter(make_animatediff(tokenizer_folder), state, image_encoder, 1.0)(
        "a", ip_adapter_image=reference, generator=seeded_generators(3), **arguments
    ).frames
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("edits", [["b"], ["b", "c"]], ids=["one edit", "two edits"])
def test_ledits_styles_the_parts_of_its_edits(tokenizer_folder, styled, reference, edits):
    """diffusers' own adapter has rows for one edit only: two are compared with the layout that they must have."""
    pipe = quiet(LEditsPPPipelineStableDiffusionXL.from_pipe(styled.pipe))
    styled = styled.with_pipeline(pipe)
    pipe.scheduler.set_timesteps(4)
    pipe.invert(PHOTO.resize((32, 32)), num_inversion_steps=4, skip=0.0, height=32, width=32, source_prompt="a")
    arguments: dict[str, Any] = {"editing_prompt": edits, "output_type": "latent"}
    seen: list[tuple[str, ...]] = []
    processor_layout = record_layouts(styled, seen)
    with styled.using(reference, blocks="all"), processor_layout:
        ours = pipe(**arguments).images
    assert set(seen) == {("unconditional", *["conditional"] * len(edits))}
    assert not torch.allclose(ours, pipe(**arguments).images, rtol=1e-2)


def record_layouts(styled: InstantStyle, seen: list[tuple[str, ...]]) -> Any:
    """Record the layout of each call of the UNet, which the styled layers read."""
    patch = pytest.MonkeyPatch.context()

    class Recording:
        def __enter__(self) -> None:
            from instantstyle.core.attention.decoupled import StyleKeyValues

            original = StyleKeyValues.for_batch

            def recording(self: Any, batch: int, layout: Any, shift: Any = None) -> Any:
                seen.append(layout)
                return original(self, batch, layout, shift)

            patch.__enter__().setattr(StyleKeyValues, "for_batch", recording)

        def __exit__(self, *error: Any) -> None:
            patch.__exit__(*error)

    return Recording()


@pytest.mark.parametrize("order", ["after a guided call", "before any call"])
def test_a_second_pipeline_on_the_same_unet_keeps_its_own_rows(styled, reference, order):
    """Guidance is that of the pipeline that runs, not that of the one that is styled."""
    other = quiet(StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe))
    arguments = {"image": PHOTO, "strength": 0.8, "guidance_scale": 1.0, **SHORT}
    del arguments["height"], arguments["width"]
    expected = styled.with_pipeline(other)("a", style=reference, blocks="all", seed=3, **arguments).images
    if order == "after a guided call":
        styled("a", guidance_scale=5.0, seed=1, **SHORT)
    with styled.using(reference, blocks="all"):
        found = other("a", generator=seeded_generators(3), **arguments).images
    assert found.equal(expected)


def unet_inputs(pipe: Any, rows: int, used: slice = slice(None)) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(2)
    text = torch.randn(rows, 7, pipe.unet.config.cross_attention_dim, generator=generator)
    size = pipe.unet.config.projection_class_embeddings_input_dim - 6 * pipe.unet.config.addition_time_embed_dim
    added = {"text_embeds": torch.randn(rows, size, generator=generator)[used], "time_ids": torch.ones(rows, 6)[used]}
    inputs = {"sample": torch.randn(rows, 4, 8, 8, generator=generator)[used], "encoder_hidden_states": text[used]}
    return {**inputs, "timestep": 500, "added_cond_kwargs": added}


@torch.no_grad()
@pytest.mark.parametrize("order", ["before any call", "after a guided call", "after an unguided call"])
def test_in_a_loop_of_the_callers_all_rows_are_conditional_unless_declared(styled, reference, order):
    if order != "before any call":
        styled("a", seed=1, guidance_scale=5.0 if order == "after a guided call" else 1.0, **SHORT)
    unet, inputs = styled.pipe.unet, unet_inputs(styled.pipe, 4)
    halves = [unet_inputs(styled.pipe, 4, rows) for rows in (slice(2), slice(2, 4))]
    with styled.using(reference, blocks="all"):
        undeclared = unet(**inputs).sample
        second = unet(**halves[1]).sample
    with styled.using(reference, blocks="all", row_layout=("unconditional",)):
        first = unet(**halves[0]).sample
    with styled.using(reference, blocks="all", row_layout=("unconditional", "conditional")):
        declared = unet(**inputs).sample
    assert_close(undeclared[2:], second, rtol=1e-4, atol=1e-5)
    assert_close(declared, torch.cat([first, second]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(undeclared[:2], declared[:2], rtol=1e-2)


class OwnPipeline(StableDiffusionXLPipeline):
    """A pipeline of a caller, whose batches may have any parts."""

    def __call__(self, prompt=None, num_images_per_prompt=1, generator=None, **options):  # type: ignore[override]
        self._guidance_scale = 5.0
        return (self.unet(**unet_inputs(self, 3)).sample,)


class DelegatingPipeline(StableDiffusionXLPipeline):
    """A pipeline of a caller that calls diffusers' own."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return super().__call__(*arguments, **options)


def test_a_pipeline_that_is_not_known_is_refused_by_name_unless_its_rows_are_declared(styled, reference):
    own = quiet(OwnPipeline.from_pipe(styled.pipe))
    other = styled.with_pipeline(own)
    with pytest.raises(ModelError, match=r"The batches of OwnPipeline are not known.*row_layout"):
        other("a", style=reference, blocks="all")
    with styled.using(reference, blocks="all", row_layout=("conditional", "unconditional", "unconditional")):
        own()


@pytest.mark.parametrize("layout", [["words"], [], "conditional", 2])
def test_a_row_layout_of_other_parts_is_refused(layout):
    with pytest.raises(ModelError, match=r"row_layout is .*; it names the parts of a batch in order"):
        validate_row_layout(layout)


def test_a_pipeline_with_any_keyword_that_calls_diffusers_own_is_known(styled, reference):
    delegating = quiet(DelegatingPipeline.from_pipe(styled.pipe))
    ours = styled.with_pipeline(delegating)("a", style=reference, seed=3, **SHORT).images
    assert ours.equal(styled("a", style=reference, seed=3, **SHORT).images)


def test_a_batch_that_does_not_split_into_its_parts_names_them(styled, reference):
    with (
        torch.no_grad(),
        styled.using(reference, row_layout=("unconditional", "conditional")),
        pytest.raises(
            StyleError, match=r"A batch of 3 rows does not split into 2 parts \(unconditional, conditional\)"
        ),
    ):
        styled.pipe.unet(**unet_inputs(styled.pipe, 3))


def test_an_interval_of_guidance_in_a_batch_of_other_parts_is_refused_by_name(tokenizer_folder, image_encoder):
    pipe = quiet(StableDiffusionXLPAGPipeline.from_pipe(make_pipe(tokenizer_folder), pag_applied_layers=["mid"]))
    styled = InstantStyle(pipe, adapter=adapter_state(pipe.unet), image_encoder=image_encoder)
    with pytest.raises(ModelError, match="StableDiffusionXLPAGPipeline has other parts than an unconditional"):
        styled("a", guidance_interval=(0.2, 0.8), **SHORT)


def test_each_prompt_has_its_own_style_in_perturbed_batches(tokenizer_folder, image_encoder, reference):
    pipe = quiet(StableDiffusionXLPAGPipeline.from_pipe(make_pipe(tokenizer_folder), pag_applied_layers=["mid"]))
    styled = InstantStyle(pipe.to(torch.float64), adapter=adapter_state(pipe.unet), image_encoder=image_encoder)
    inks = [styled.style(reference), styled.style(reference.transpose(Image.Transpose.ROTATE_90))]
    arguments = {**SHORT, "blocks": "all", "pag_scale": 3.0}
    both = styled(["a", "b"], style=inks, seed=3, **arguments).images
    alone = [
        styled(prompt, style=ink, seed=seed, **arguments).images
        for prompt, ink, seed in zip("ab", inks, (3, 4), strict=True)
    ]
    assert_close(both, torch.cat(alone), rtol=1e-9, atol=1e-9)
