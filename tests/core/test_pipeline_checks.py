"""Outputs of a pipeline are checked for overflow, and arguments are counted and filtered."""

import json
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPTokenizer

from instantstyle import InstantStyle, JobError, ModelError, StyleError
from instantstyle.core.call_inputs import num_images
from instantstyle.core.output_checks import check_output
from instantstyle.core.pipeline_checks import supported_arguments
from instantstyle.core.prompt_checks import describe_size
from instantstyle.core.text_encoder import expand_inverted_tokens
from instantstyle.errors import PromptWarning, SizeWarning

from ..parity.test_other_pipelines import make_sd15


@pytest.fixture
def float16_pipe():
    return SimpleNamespace(unet=SimpleNamespace(dtype=torch.float16), vae=SimpleNamespace(dtype=torch.float16))


BLACK, GREY = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "grey")


@pytest.mark.parametrize(
    "invalid",
    [
        [BLACK],
        np.full((1, 8, 8, 3), np.nan),
        torch.full((1, 4, 2, 2), torch.inf),
    ],
    ids=["black", "nan", "infinite latents"],
)
def test_an_overflow_raises_an_error_with_a_remedy(float16_pipe, invalid):
    with pytest.raises(ModelError, match=r"Image 1 of 1 .*UNet float16, VAE float16.*bfloat16"):
        check_output(invalid, None, float16_pipe)


def test_invalid_images_are_numbered_from_one(float16_pipe):
    with pytest.raises(ModelError, match=r"^Image 2, 4 of 4 "):
        check_output([GREY, BLACK, GREY, BLACK], None, float16_pipe)


@pytest.mark.parametrize(
    "valid", [[GREY], torch.zeros(1, 4, 2, 2), np.full((1, 8, 8, 3), 0.01)], ids=["pil", "latents", "numpy"]
)
def test_valid_images_pass(float16_pipe, valid):
    check_output(valid, None, float16_pipe)


@pytest.mark.usefixtures("own_pipe")
def test_an_overflow_of_the_unet_is_detected(styled, short):
    short = {**short, "output_type": "pil"}
    styled("a", seed=1, **short)
    with torch.no_grad():
        styled.pipe.unet.conv_out.weight.fill_(torch.inf)
    with (
        pytest.warns(RuntimeWarning, match="invalid value"),
        pytest.raises(ModelError, match="numbers overflowed"),
    ):
        styled("a", seed=1, **short)


def test_prompt_embeddings_are_counted_as_prompts_and_no_prompt_is_one():
    assert num_images(None, 2, {}) == (1, 2)
    assert num_images(None, 2, {"prompt_embeds": torch.zeros(3, 4, 4)}) == (3, 2)
    assert num_images(["a", "b"], 2, {}) == (2, 2)


def test_unsupported_arguments_are_dropped(pipe):
    assert supported_arguments(pipe, {"height": 8, "strength": 0.5}) == {"height": 8}


def test_an_image_that_the_safety_checker_blacked_out_is_no_overflow(float16_pipe):
    check_output([BLACK, GREY], [True, False], float16_pipe)
    with pytest.raises(ModelError, match=r"^Image 2 of 2 "):
        check_output([BLACK, BLACK], [True, False], float16_pipe)


class FlagFirst(torch.nn.Module):
    """A safety checker that blacks out the first image of a call."""

    dtype, device = torch.float32, torch.device("cpu")

    def forward(self, clip_input, images):
        images[0] = images[0] * 0
        return images, [place == 0 for place in range(len(images))]


def test_flagged_images_are_passed_on_with_the_flags_and_the_other_images(tokenizer_folder):
    pipe: Any = make_sd15(tokenizer_folder)
    pipe.safety_checker, pipe.feature_extractor = FlagFirst(), CLIPImageProcessorPil()
    inputs: dict[str, Any] = {"height": 16, "width": 16, "num_inference_steps": 1, "seed": 1}
    output = InstantStyle(pipe)(["a", "b"], **inputs)
    assert output.nsfw_content_detected == [True, False]
    assert [bool(np.asarray(image).any()) for image in output.images] == [False, True]


NEAR_MISSES = {
    "content of a number": ("content=3", "content is 3; it is words"),
    "content of None": ("content=[None]", "content is [None]; it is words"),
    "empty content": ("content=['']", "content is ['']; it is words"),
    "nothing to scale": ("content_scale=0.7", "content_scale=0.7 has no effect without words to remove"),
    "not a number": ("content='a', content_scale=float('nan')", "content_scale is nan; it is a finite number"),
    "curve of a word": ("curve='linear'", "curve is 'linear'"),
    "curve with None": ("curve=[1.0, None]", "curve is [1.0, None]"),
    "scale of a bool": ("scale=True", "scale is True"),
    "start of a word": ("start='0'", "start is '0'"),
    "no step": ("num_inference_steps=0", "num_inference_steps is 0; it must be a whole number from 1"),
    "half a step": ("num_inference_steps=2.5", "num_inference_steps is 2.5"),
    "odd width": ("width=100", "width is 100; it must be a multiple of 8"),
    "negative height": ("height=-8", "height is -8"),
    "argument of diffusers' adapter": ("ip_adapter_image=image", "pass the reference as style="),
    "name of other tools": ("steps=3", "no argument 'steps'. Did you mean num_inference_steps"),
    "another": ("cfg=3", "no argument 'cfg'. Did you mean guidance_scale"),
    "seed of a float": ("seed=1.0", "seed is 1.0"),
    "count of a word": ("num_images_per_prompt='2'", "num_images_per_prompt is '2'"),
    "interval of words": ("guidance_interval=('0', 1)", "guidance_interval is ('0', 1)"),
}
"""Arguments of a call as a user writes them, and the beginning of the error."""

ACCEPTED = {
    "seed=np.int64(3)": "seed=3",
    "scale=np.float32(0.5)": "scale=0.5",
    "start=np.float64(0.25), end=np.float32(1)": "start=0.25",
    "curve=np.array([1.0, 0.5])": "curve=[1.0, 0.5]",
    "guidance_interval=(np.float32(0), np.float64(0.5))": "guidance_interval=(0.0, 0.5)",
    "num_images_per_prompt=np.int32(2)": "num_images_per_prompt=2",
    "num_inference_steps=np.int64(1)": "num_inference_steps=1",
    "content='a', content_scale=np.float32(0.5)": "content='a', content_scale=0.5",
}
"""Numbers of numpy, and the same numbers of Python."""

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path

import numpy as np
from PIL import Image

from instantstyle import InstantStyle, InstantStyleError
from instantstyle.core.adapter_layers import cross_attention_layers
from tests.conftest import base_projection, layer_weights, make_image_encoder, make_pipe

pipe = make_pipe(Path(sys.argv[1]))
state = {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
styled = InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder())
image = Image.effect_noise((64, 48), 80).convert("RGB")

def generate(written):
    arguments = dict(num_inference_steps=2, output_type="latent", height=16, width=16, style=image, seed=1)
    return styled("a", **{**arguments, **eval(f"dict({written})")}).images

messages = {}
for written in json.loads(sys.argv[2]):
    try:
        generate(written)
        messages[written] = "accepted"
    except InstantStyleError as error:
        messages[written] = str(error)
    except Exception as error:
        messages[written] = f"{type(error).__name__}: {error}"
equal = {one: bool(generate(one).equal(generate(other))) for one, other in json.loads(sys.argv[3]).items()}
print(json.dumps([messages, equal]))
"""
"""Runs in a process of its own, without the type checks of the tests, as users have it."""


@pytest.mark.slow
def test_near_misses_of_the_python_api_are_accepted_or_refused_in_one_line(tokenizer_folder, request):
    written = json.dumps([arguments for arguments, _ in NEAR_MISSES.values()])
    command = [sys.executable, "-c", SCRIPT, str(tokenizer_folder), written, json.dumps(ACCEPTED)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=request.config.rootpath, check=True)
    messages, equal = json.loads(result.stdout.splitlines()[-1])
    others = {messages[written]: start for written, start in NEAR_MISSES.values() if start not in messages[written]}
    assert others == {}
    assert [message for message in messages.values() if "\n" in message] == []
    assert [written for written, is_equal in equal.items() if not is_equal] == []


@pytest.mark.parametrize(
    ("prompts", "styles", "images"),
    [(["a"], 2, 1), (["a"], 2, 2), (["a", "b", "c"], 2, 1), (["a", "b", "c", "d"], 2, 1)],
)
def test_several_styles_need_as_many_prompts(styled, reference, short, prompts, styles, images):
    """Otherwise the recipe of an image would name another style than it was generated in."""
    inks = [styled.style(reference.rotate(90 * number)) for number in range(styles)]
    with pytest.raises(StyleError, match=rf"^{len(prompts)} prompts? and 2 styles: give one style for each prompt"):
        styled(prompts, style=inks, num_images_per_prompt=images, seed=1, **short)


def test_a_mapping_of_references_has_their_weights(styled, reference, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, (reference, reference.rotate(90)), strict=True):
        image.save(path)
    weighted = styled.style(dict(zip(map(str, paths), (0.9, 0.1), strict=True)))
    assert weighted.embedding().equal(styled.style(paths, weights=[0.9, 0.1]).embedding())


def test_removal_without_a_style_is_refused(styled, short):
    for change in ({"content": "a"}, {"content_scale": 0.5}, {"removal": "mask"}):
        with pytest.raises(StyleError, match="says what is removed from a style, but style is None"):
            styled("a", **change, **short)


class OneImage(StableDiffusionXLPipeline):
    """A pipeline of a caller that passes any keyword on."""

    def __call__(self, *arguments, **options):
        return super().__call__(*arguments, **options)


def test_a_pipeline_with_any_keyword_takes_the_arguments_of_the_call(styled, short):
    other = styled.with_pipeline(OneImage.from_pipe(styled.pipe))
    other.pipe.set_progress_bar_config(disable=True)
    expected = styled("a", seed=1, guidance_rescale=0.5, **short).images
    assert other("a", seed=1, guidance_rescale=0.5, **short).images.equal(expected)
    with pytest.raises(JobError, match="no argument 'guidanc_rescale'"):
        styled("a", guidanc_rescale=0.5, **short)


def test_prompts_without_effect_are_reported_before_the_image_is_generated(styled, short):
    styled.explain_prompt = lambda prompt: None if "known" in prompt else f"No word of {prompt} is known."
    long = "known " + "a " * 100
    for prompt, message in (
        ("", "The prompt is empty"),
        (" ", "The prompt is empty"),
        ("zzz", "No word of zzz is known"),
        (long, "too long for the text encoder, which does not read its end: '.*a a'"),
    ):
        with pytest.warns(PromptWarning, match=message):
            styled(["known", prompt], **short)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        styled("known", **short)


def test_an_image_to_start_from_needs_no_prompt(styled, reference):
    redraw = styled.with_pipeline(StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe))
    redraw.pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        redraw("", image=reference.resize((16, 16)), strength=0.5, num_inference_steps=2)
    with pytest.warns(PromptWarning, match="The prompt is empty"):
        styled("", num_inference_steps=1, height=16, width=16)


def test_a_size_far_from_that_of_the_model_is_reported_before_the_image_is_generated(styled, short):
    own = {**short, "height": None, "width": None}
    message = "trained on images of 16×16 px; of {} px they are likely to be blurred, repeated or empty"
    for height, width, text in ((32, 24, "24×32"), (8, 8, "8×8"), (40, None, "16×40")):
        with pytest.warns(SizeWarning, match=message.format(text)):
            styled("a", **{**own, "height": height, "width": width})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for height, width in ((None, None), (16, None), (16, 32), (8, 16)):
            styled("a", **{**own, "height": height, "width": width})


def test_a_size_is_compared_with_the_default_of_the_pipeline():
    class Plain:
        unet = SimpleNamespace(config=SimpleNamespace(sample_size=64))
        vae_scale_factor = 8

        def __call__(self, prompt=None, height=None, width=None): ...

    class Panorama(Plain):
        def __call__(self, prompt=None, height=512, width=2048): ...

    assert describe_size(Panorama(), 512, 2048) is None
    assert "512×512 px; of 2048×512 px" in str(describe_size(Plain(), 512, 2048))
    for size, is_far in ((None, False), ((64, 256), False), ([64, 64], True)):
        Plain.unet = SimpleNamespace(config=SimpleNamespace(sample_size=size))
        assert bool(describe_size(Plain(), 512, 2048)) is is_far


def test_a_token_of_several_vectors_stands_for_all_of_them_in_content(tokenizer_folder):
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=77)
    tokenizer.add_tokens(["<ink>", "<ink>_1", "<ink>_2", "<cat>"])
    assert expand_inverted_tokens("a <ink> b <cat>", tokenizer) == "a <ink> <ink>_1 <ink>_2 b <cat>"
