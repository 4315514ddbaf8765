"""Weights over the frames of a video: closed form, and exactly the rows of their frames in every layout of a batch."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, StyleConditioning, StyleError
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.core.frame_weights import copy_frame_weights, weigh_frames

from ..parity.test_other_pipelines import make_sd15
from ..parity.test_row_layouts import SHORT, adapter_state, make_animatediff


@pytest.mark.parametrize(
    ("weights", "frames", "expected"),
    [
        ((0.3, 1.7, 0.1), 3, [0.3, 1.7, 0.1]),
        ((0, 1), 5, [0, 0.25, 0.5, 0.75, 1]),
        ((0, 1, 0), 4, [0, 2 / 3, 2 / 3, 0]),
        ((0.5,), 3, [0.5, 0.5, 0.5]),
        ((0.2, 1), 1, [0.2]),
        (lambda share: 1 - share, 3, [1, 0.5, 0]),
    ],
)
def test_weights_apply_at_shares_of_the_frames(weights, frames, expected):
    assert_close(weigh_frames(weights, frames), torch.tensor(expected).float(), rtol=1e-6, atol=1e-7)


def test_a_list_of_one_weight_a_frame_is_exact_for_any_number():
    wrong = [n for n in range(1, 65) if weigh_frames(w := torch.rand(n).tolist(), n).tolist() != w]
    assert wrong == []


def test_what_is_no_weight_is_refused():
    for weights in ("ab", [], {"a": 1}, [float("nan")], 1):
        with pytest.raises(StyleError, match=r"frames is .*; it is one finite number or several, or a function"):
            copy_frame_weights(weights)
    with pytest.raises(StyleError, match=r"frames returns nan at 0.5 of the frames"):
        weigh_frames(lambda share: float("nan") if share == 0.5 else 0.0, 3)


def test_frames_are_the_inner_axis_of_the_rows():
    """As `UNetMotionModel` reshapes [batch channels frames height width]: two videos, guided."""
    state = DenoisingState()
    state.begin((torch.zeros(4, 4, 3, 2, 2), torch.tensor(0)), {}, None)
    assert state.weigh_rows((0.0, 0.5, 1.0)).flatten().tolist() == [0.0, 0.5, 1.0] * 4


@pytest.fixture(scope="module")
def video(tokenizer_folder, image_encoder) -> InstantStyle:
    """Motion modules that add nothing, so that frames do not depend on one another."""
    pipe = make_animatediff(tokenizer_folder)
    for name, weight in pipe.unet.named_parameters():
        if "motion_modules" in name and "proj_out" in name:
            torch.nn.init.zeros_(weight)
    state = adapter_state(make_sd15(tokenizer_folder).unet)
    return InstantStyle(pipe, adapter=state, image_encoder=image_encoder)


CASES: dict[str, dict[str, Any]] = {
    "unguided": {"guidance_scale": 1.0},
    "guided": {"guidance_scale": 5.0},
    "two videos": {"guidance_scale": 5.0, "prompt": ["a", "b"]},
    "an interval of guidance": {"guidance_scale": 5.0, "guidance_interval": (0.4, 1.0)},
    "a curve over the steps": {"guidance_scale": 5.0, "curve": [0.2, 1.0]},
}


@pytest.mark.parametrize("case", CASES)
def test_each_frame_equals_that_of_a_video_with_its_weight(video, reference, case):
    """Bit by bit: weight 0 is the frame without a style, weight 1 the one with it, and 0.5 that of scale 0.5."""
    arguments = {"prompt": "a", **SHORT, "num_inference_steps": 2, "num_frames": 3, "blocks": "all", "seed": 3}
    arguments |= CASES[case]
    style = video.style(reference)
    found = video(style=style, frames=[0.0, 1.0, 0.5], **arguments).images
    for frame, scale in enumerate((0.0, 1.0, 0.5)):
        expected = video(style=style, scale=scale, **arguments).images
        assert found[:, :, frame].equal(expected[:, :, frame]), scale
    plain = video(**{name: value for name, value in arguments.items() if name not in ("blocks", "curve")}).images
    assert found[:, :, 0].equal(plain[:, :, 0])
    assert not torch.allclose(found[:, :, 1], plain[:, :, 1], rtol=1e-2)


def test_conditionings_have_weights_of_their_own(video, reference):
    arguments = {**SHORT, "num_inference_steps": 2, "num_frames": 2, "seed": 3, "guidance_scale": 5.0}
    ink = video.style(reference)
    parts = [StyleConditioning(ink, "all", frames=[1, 0]), StyleConditioning(ink, "all", frames=lambda share: share)]
    found = video("a", style=parts, **arguments).images
    assert_close(found, video("a", style=ink, blocks="all", **arguments).images, rtol=1e-5, atol=1e-6)


def test_more_frames_than_positions_are_refused_unless_free_noise_is_on(tokenizer_folder, image_encoder):
    pipe = make_animatediff(tokenizer_folder)
    styled = InstantStyle(pipe, adapter=adapter_state(make_sd15(tokenizer_folder).unet), image_encoder=image_encoder)
    arguments = {**SHORT, "num_inference_steps": 1}
    with pytest.raises(JobError, match="The video has 33 frames, and the motion adapter has positions for 32"):
        styled("a", num_frames=33, **arguments)
    with pytest.raises(JobError, match=r"num_frames is 2.5; it must be a whole number from 1"):
        styled("a", num_frames=2.5, **arguments)
    pipe.enable_free_noise(context_length=8, context_stride=8)
    assert styled("a", num_frames=33, **arguments).images.shape[2] == 33
