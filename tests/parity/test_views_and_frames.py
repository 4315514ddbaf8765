"""Rows of views, frames and edits: panorama, AnimateDiff with FreeNoise or an interval of guidance, LEdits++."""

from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LEditsPPPipelineStableDiffusion,
    MotionAdapter,
    StableDiffusionPanoramaPipeline,
)
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, LoraStyle, ModelError, StyleError

from ..core.test_lora_style import merged, save_lora
from .test_other_pipelines import PHOTO, controlnet, make_sd15
from .test_row_layouts import SHORT, adapter_state, make_animatediff, quiet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]

VIEW = {**SHORT, "height": 128, "width": 128}
"""The size of one view of a panorama, for a VAE of factor 2."""


@pytest.fixture
def open_sd15(tokenizer_folder, image_encoder):
    """Return a function that makes an `InstantStyle` around a pipeline made from a tiny SD1.5."""
    state = adapter_state(make_sd15(tokenizer_folder).unet)

    def make(convert: Any) -> InstantStyle:
        pipe = quiet(convert(make_sd15(tokenizer_folder)))
        return InstantStyle(pipe, adapter=state, image_encoder=image_encoder)

    return make


@pytest.fixture
def video(tokenizer_folder, open_sd15) -> InstantStyle:
    return open_sd15(lambda _: make_animatediff(tokenizer_folder))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_panorama_of_one_view_equals_stable_diffusion(open_sd15, reference, guidance):
    """diffusers' own adapter has no unconditional rows here, and is no oracle."""
    arguments = {**VIEW, "style": reference, "blocks": "all", "seed": 3, "guidance_scale": guidance}
    ours = open_sd15(StableDiffusionPanoramaPipeline.from_pipe)("a", **arguments).images
    expected = open_sd15(lambda pipe: pipe)("a", **arguments).images
    assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_views_side_by_side_equal_views_one_by_one(open_sd15, reference, guidance):
    arguments = {**VIEW, "style": reference, "blocks": "all", "seed": 3, "guidance_scale": guidance, "width": 160}
    styled = open_sd15(StableDiffusionPanoramaPipeline.from_pipe)
    one_by_one = styled("a", view_batch_size=1, **arguments).images
    assert_close(styled("a", view_batch_size=3, **arguments).images, one_by_one, rtol=1e-3, atol=1e-4)


def test_unguided_views_keep_the_style_of_each_prompt(open_sd15, reference):
    styled = open_sd15(StableDiffusionPanoramaPipeline.from_pipe)
    inks = [styled.style(reference), styled.style(reference.transpose(Image.Transpose.ROTATE_90))]
    arguments = {**VIEW, "blocks": "all", "guidance_scale": 1.0, "width": 144, "view_batch_size": 2}
    both = styled(["a", "b"], style=inks, seed=3, **arguments).images
    alone = [
        styled(prompt, style=ink, seed=seed, **arguments).images
        for prompt, ink, seed in zip("ab", inks, (3, 4), strict=True)
    ]
    assert_close(both, torch.cat(alone), rtol=1e-3, atol=1e-4)


def test_guided_views_of_several_images_are_refused_by_name(open_sd15, reference):
    styled = open_sd15(StableDiffusionPanoramaPipeline.from_pipe)
    with pytest.raises(ModelError, match="StableDiffusionPanoramaPipeline pairs the text and the views of several"):
        styled("a", style=reference, num_images_per_prompt=2, guidance_scale=5.0, **VIEW)


FRAMES: dict[str, Any] = {**SHORT, "num_frames": 8, "guidance_scale": 5.0}


def split_frames(styled: InstantStyle) -> None:
    pipe: Any = styled.pipe
    pipe.enable_free_noise(context_length=4, context_stride=2)
    pipe.enable_free_noise_split_inference(spatial_split_size=4, temporal_split_size=2)


def test_frames_that_free_noise_splits_are_refused_by_name_and_drawn_without_a_style(open_sd15, video, reference):
    """A part of 2 of 16 rows would be read as an unconditional and a conditional row."""
    split_frames(video)
    later = InstantStyle(video.pipe, adapter=video.adapter.checkpoint, image_encoder=video.image_encoder)
    plain = later("a", seed=3, **FRAMES).images
    with pytest.raises(StyleError, match=r"SplitInferenceModule.*splits the rows.*enable_free_noise_split_inference"):
        later("a", style=reference, blocks="all", seed=3, **FRAMES)
    assert later("a", seed=3, **FRAMES).images.equal(plain)


def test_layers_that_have_moved_since_the_start_are_refused_by_name(video, reference):
    split_frames(video)
    with pytest.raises(StyleError, match=r"The network no longer has down_blocks\S+attn2.*new InstantStyle"):
        video("a", style=reference, blocks="all", seed=3, **FRAMES)


def test_frames_split_within_a_using_block_are_refused_and_the_unet_is_restored(video, reference):
    with video.using(reference, blocks="all") as pipe:
        split_frames(video)
        with pytest.raises(StyleError, match=r"has 2 rows.*16 rows"):
            pipe("a", generator=torch.Generator().manual_seed(3), num_frames=8, **SHORT)
    kinds = {type(processor).__name__ for processor in video.pipe.unet.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0"}


def test_a_seed_generates_long_videos_of_free_noise(video, reference):
    video.pipe.enable_free_noise(context_length=4, context_stride=2)
    ours = video("a", style=reference, blocks="all", seed=3, **FRAMES).images
    expected = video("a", style=reference, blocks="all", generator=torch.Generator().manual_seed(3), **FRAMES).images
    assert ours.equal(expected)
    assert not video("a", seed=3, **FRAMES).images.equal(ours)


def test_several_videos_a_call_of_free_noise_are_refused_by_name(video):
    video.pipe.enable_free_noise(context_length=4, context_stride=2)
    with pytest.raises(JobError, match=r"AnimateDiffPipeline with FreeNoise takes one generator.*one video a call"):
        video("a", num_images_per_prompt=2, seed=3, **FRAMES)


def test_prompts_by_frame_are_refused_with_the_way_to_draw_them(video, reference, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    video.pipe.enable_free_noise(context_length=4, context_stride=2)
    prompts = {0: "a", 4: "b"}
    with pytest.raises(JobError, match=r"prompt maps frames to words.*using"):
        video(prompts, style=reference, **FRAMES)
    with video.using(reference, blocks="all") as pipe:
        changing = pipe(prompts, generator=torch.Generator().manual_seed(3), **FRAMES).frames
        same = pipe("a", generator=torch.Generator().manual_seed(3), **FRAMES).frames
    assert not torch.allclose(changing, same, rtol=1e-2)


@pytest.mark.parametrize("is_styled", [False, True], ids=["plain", "styled"])
def test_no_interval_of_guidance_equals_no_guidance_in_all_frames(video, reference, is_styled):
    style = {"style": reference, "blocks": "all"} if is_styled else {}
    arguments = {**FRAMES, "num_frames": 3, "seed": 3, **style}
    unguided = video("a", **{**arguments, "guidance_scale": 1.0}).images
    assert_close(video("a", guidance_interval=(0.0, 0.0), **arguments).images, unguided, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(video("a", **arguments).images, unguided, rtol=1e-2)


def test_frames_with_control_images_are_guided_in_an_interval(open_sd15, reference):
    def convert(pipe: Any) -> Any:
        torch.manual_seed(11)
        motion = MotionAdapter(
            block_out_channels=(8, 16, 16, 16), motion_norm_num_groups=4, motion_num_attention_heads=2
        )
        parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
        scheduler: Any = DDIMScheduler(clip_sample=False)
        return AnimateDiffControlNetPipeline(
            **parts, motion_adapter=motion, controlnet=controlnet(pipe), scheduler=scheduler
        )

    styled = open_sd15(convert)
    arguments = {**FRAMES, "num_frames": 3, "style": reference, "blocks": "all", "seed": 3}
    arguments["conditioning_frames"] = [PHOTO] * 3
    unguided = styled("a", **{**arguments, "guidance_scale": 1.0}).images
    assert_close(styled("a", guidance_interval=(0.0, 0.0), **arguments).images, unguided, rtol=1e-4, atol=1e-5)


@pytest.fixture
def editing(open_sd15) -> InstantStyle:
    scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=2)
    styled = open_sd15(lambda pipe: LEditsPPPipelineStableDiffusion.from_pipe(pipe, scheduler=scheduler))
    pipe: Any = styled.pipe
    pipe.invert(PHOTO.resize((32, 32)), num_inversion_steps=4, skip=0.25, height=32, width=32, source_prompt="a")
    return styled


@pytest.mark.parametrize("options", [{}, {"use_cross_attn_mask": False}, {"use_intersect_mask": True}])
def test_edits_with_masks_are_refused_before_they_replace_processors(editing, reference, options):
    before = editing.pipe.unet.attn_processors
    with pytest.raises(StyleError, match=r"LEditsPPPipelineStableDiffusion.*use_intersect_mask.*False"):
        editing(style=reference, editing_prompt=["b"], output_type="latent", **options)
    assert editing.pipe.unet.attn_processors == before


def test_a_lora_in_blocks_of_an_animation_equals_merged_weights(video, tmp_path):
    """In a UNet whose `proj_in` and `proj_out` are convolutions, and whose layers have a row for each frame."""
    unet, path = video.pipe.unet, tmp_path / "ink.safetensors"
    changes = save_lora(path, unet, "peft", ("up_blocks.1.attentions", "mid_block.attentions"))
    assert {unet.get_parameter(name).ndim for name in changes} == {2, 4}
    arguments = {**SHORT, "seed": 3, "num_frames": 3, "guidance_scale": 5.0}
    plain, found = (
        video("a", style=each, **arguments).images for each in (None, LoraStyle(path, "all", frames=[1.0, 0.0, 1.0]))
    )
    with merged(unet, changes):
        expected = video("a", **arguments).images
    whole = video("a", style=LoraStyle(path, "all"), **arguments).images
    assert_close(whole, expected, rtol=1e-4, atol=1e-4)
    assert not found.equal(whole)
    assert not found.equal(plain)


def test_an_edit_without_editing_prompts_is_refused_as_no_row_would_be_styled(editing, reference):
    with pytest.raises(ModelError, match="without editing_prompt has unconditional parts only"):
        editing(style=reference, blocks="all", output_type="latent", use_intersect_mask=False)


def test_edits_without_masks_are_styled(editing, reference):
    arguments = {"editing_prompt": ["b"], "output_type": "latent", "use_intersect_mask": False}
    plain = editing(**arguments).images
    found = editing(style=reference, blocks="all", **arguments).images
    assert not torch.allclose(found, plain, rtol=1e-2)
    with editing.using(reference, blocks="all") as pipe:
        assert pipe(**arguments).images.equal(found)


def test_edits_with_masks_within_a_using_block_name_the_options(editing, reference):
    with (
        editing.using(reference) as pipe,
        pytest.raises(StyleError, match=r"LEDITSCrossAttnProcessor.*use_cross_attn_mask.*use_intersect_mask"),
    ):
        pipe(editing_prompt=["b"], output_type="latent")


def test_twins_are_refused_where_a_prompt_has_one_video_or_edit(video, editing, reference):
    one = "hold_layout generates a twin beside each image, and this pipeline generates one image or video of a prompt"
    edit = {"editing_prompt": ["b"], "use_intersect_mask": False}
    for styled, prompt, options in ((video, "a", {**SHORT, "num_frames": 3}), (editing, None, edit)):
        with pytest.raises(JobError, match=one):
            styled(prompt, style=reference, hold_layout=0.5, **options)
