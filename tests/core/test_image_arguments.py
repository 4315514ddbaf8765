"""Images among the arguments of a pipeline are read as references are; what diffusers alone defines is unchanged."""

import inspect
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    MultiAdapter,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    T2IAdapter,
)
from diffusers.pipelines.animatediff import pipeline_animatediff_video2video
from PIL import Image

from instantstyle import ImageError, InstantStyle, JobError
from instantstyle.core.image_arguments import FRAMES, IMAGES, MASKS, convert_images
from instantstyle.core.row_layout import ROW_LAYOUTS

from ..imaging.profiles import DISPLAY_P3, rgb_profile
from ..parity.test_other_pipelines import LEFT as MASK
from ..parity.test_other_pipelines import (
    PHOTO,
    SETUPS,
    controlnet,
    controlnet_image_to_image,
    image_to_image,
    inpainting,
    one_controlnet,
    t2i_adapter,
    t2i_adapter_pipeline,
    two_controlnets,
)

PIXELS = np.asarray(PHOTO)
WHITE_ON_NOTHING = Image.new("LA", (16, 16), (255, 0))
WHITE_ON_NOTHING.paste((255, 255), (0, 0, 8, 16))
SHORT: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent", "guidance_scale": 5.0}


def encode(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def turned(image: Image.Image) -> Image.Image:
    """The same image as a camera held upside down stores it."""
    exif = Image.Exif()
    exif[0x0112] = 3
    opened = Image.open(io.BytesIO(encode(image.transpose(Image.Transpose.ROTATE_180), exif=exif)))
    opened.load()
    return opened


def clear(image: Image.Image) -> Image.Image:
    """The image on nothing: a transparent second half, whose hidden colour is red."""
    result = Image.new("RGBA", (32, 16), (255, 0, 0, 0))
    result.paste(image, (0, 0))
    return result


def path_of(image: Image.Image, folder: Path) -> Path:
    image.save(folder / "photo.png")
    return folder / "photo.png"


PHOTOS: dict[str, Any] = {
    "path": lambda folder: path_of(PHOTO, folder),
    "path as text": lambda folder: str(path_of(PHOTO, folder)),
    "bytes": lambda _: encode(PHOTO),
    "bytearray": lambda _: bytearray(encode(PHOTO)),
    "RGBA": lambda _: PHOTO.convert("RGBA"),
    "EXIF": lambda _: turned(PHOTO),
    "numpy [H W 3] uint8": lambda _: PIXELS,
    "numpy [3 H W] uint8": lambda _: PIXELS.transpose(2, 0, 1),
    "numpy [1 H W 3] uint8": lambda _: PIXELS[None],
    "numpy [H W 4] float": lambda _: np.asarray(PHOTO.convert("RGBA")) / 255,
    "numpy [3 H W] float": lambda _: PIXELS.transpose(2, 0, 1) / 255,
    "torch [3 H W] uint8": lambda _: torch.tensor(PIXELS).permute(2, 0, 1),
    "torch [1 3 H W] uint8": lambda _: torch.tensor(PIXELS).permute(2, 0, 1)[None],
    "torch [4 H W] uint8": lambda _: torch.tensor(np.asarray(PHOTO.convert("RGBA"))).permute(2, 0, 1),
    "torch [H W 3] float": lambda _: torch.tensor(PIXELS) / 255,
}
"""The same picture in many forms, each of which diffusers refuses, or draws something else from."""

MASKS_ALIKE: dict[str, Any] = {
    "path": lambda folder: path_of(MASK, folder),
    "bytes": lambda _: encode(MASK),
    "white on transparent": lambda _: WHITE_ON_NOTHING,
    "bilevel": lambda _: MASK.convert("1"),
    "palette": lambda _: MASK.convert("P"),
    "numpy [H W] bool": lambda _: np.asarray(MASK) > 0,
    "numpy [H W] of 0 and 1": lambda _: (np.asarray(MASK) > 0).astype(np.int64),
    "numpy [H W] uint8": lambda _: np.asarray(MASK),
    "numpy [H W] float": lambda _: np.asarray(MASK) / 255,
    "numpy [H W 3] float": lambda _: np.asarray(MASK.convert("RGB")) / 255,
    "torch [H W] float": lambda _: torch.tensor(np.asarray(MASK)) / 255,
    "torch [1 H W] float": lambda _: torch.tensor(np.asarray(MASK))[None] / 255,
    "torch [3 H W] float": lambda _: torch.tensor(np.asarray(MASK.convert("RGB"))).permute(2, 0, 1) / 255,
    "torch [1 1 H W] uint8": lambda _: torch.tensor(np.asarray(MASK))[None, None],
}


def wrap(kind: Any, pipe: Any, **networks: Any) -> Any:
    return kind.from_pipe(pipe, **networks)


def pixels_of(value: Any) -> np.ndarray:
    assert isinstance(value, Image.Image)
    return np.asarray(value)


@pytest.fixture
def make(styled: InstantStyle):
    """Make a styled pipeline of another kind, and the inputs of its call."""

    def build(setup: Any) -> tuple[InstantStyle, dict[str, Any]]:
        pipe, inputs = setup(styled.pipe)
        pipe.set_progress_bar_config(disable=True)
        return styled.with_pipeline(pipe), {**inputs, **SHORT}

    return build


@pytest.mark.parametrize("setup", SETUPS)
def test_an_rgb_image_gives_the_latents_of_the_pipeline_itself(make, reference, setup):
    styled, inputs = make(setup)
    generator = [torch.Generator("cpu").manual_seed(3)]
    assert styled("a", seed=3, **inputs).images.equal(styled.pipe("a", generator=generator, **inputs).images)
    # A mask whose colours differ is resized before it becomes grey, as in diffusers.
    if "mask_image" in inputs:
        inputs["mask_image"] = Image.effect_noise((37, 29), 90).convert("RGB")
        generator = [torch.Generator("cpu").manual_seed(3)]
        assert styled("a", seed=3, **inputs).images.equal(styled.pipe("a", generator=generator, **inputs).images)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setup", [image_to_image, inpainting, one_controlnet, controlnet_image_to_image, t2i_adapter_pipeline]
)
def test_every_form_of_an_image_gives_the_same_latents(make, reference, tmp_path, setup):
    styled, inputs = make(setup)
    expected = styled("a", style=reference, seed=3, **inputs).images
    names = [name for name in ("image", "control_image") if name in inputs]
    differing = []
    for form, build in PHOTOS.items():
        changed = {name: build(tmp_path) for name in names}
        if not styled("a", style=reference, seed=3, **{**inputs, **changed}).images.equal(expected):
            differing.append(form)
    assert not differing


def test_every_form_of_a_mask_gives_the_same_latents(make, reference, tmp_path):
    styled, inputs = make(inpainting)
    expected = styled("a", seed=3, **inputs).images
    differing = [
        form
        for form, build in MASKS_ALIKE.items()
        if not styled("a", seed=3, **{**inputs, "mask_image": build(tmp_path)}).images.equal(expected)
    ]
    assert not differing
    assert not styled("a", seed=3, **{**inputs, "mask_image": MASK.transpose(Image.Transpose.ROTATE_90)}).images.equal(
        expected
    )


def test_images_are_read_by_the_rules_of_references(styled):
    pipe = wrap(StableDiffusionXLInpaintPipeline, styled.pipe)
    image = convert_images(pipe, {"image": clear(PHOTO)})["image"]
    assert pixels_of(image)[:, 16:].tolist() == np.full((16, 16, 3), 255).tolist()
    assert np.array_equal(pixels_of(image)[:, :16], PIXELS)
    mask = convert_images(pipe, {"mask_image": clear(Image.new("RGB", (16, 16), "white"))})["mask_image"]
    assert np.array_equal(pixels_of(mask)[:, :, 0], np.repeat([[255] * 16 + [0] * 16], 16, axis=0))
    wide = Image.open(io.BytesIO(encode(Image.new("RGB", (4, 4), (201, 60, 40)), icc_profile=rgb_profile(DISPLAY_P3))))
    converted = pixels_of(convert_images(pipe, {"image": wide})["image"])[0, 0]
    assert abs(converted.astype(int) - (219, 41, 22)).max() <= 2
    deep = np.full((8, 8), 65535 // 4, dtype=np.uint16)
    assert pixels_of(convert_images(pipe, {"image": Image.fromarray(deep)})["image"])[0, 0].tolist() == [64, 64, 64]


def test_the_same_list_of_images_in_other_forms(make, tmp_path):
    styled, inputs = make(image_to_image)
    other = PHOTO.transpose(Image.Transpose.ROTATE_90)
    prompts, floats = ["a", "b"], torch.tensor(PIXELS).permute(2, 0, 1) / 255
    expected = styled(prompts, seed=3, **{**inputs, "image": [PHOTO, other]}).images
    lists = {
        "paths and bytes": (path_of(PHOTO, tmp_path), encode(other)),
        "array of two": np.stack([PIXELS, np.asarray(other)]),
        "tensor of two": torch.tensor(np.stack([PIXELS, np.asarray(other)])).permute(0, 3, 1, 2),
        "floats beside an image": [floats, other],
        "an image beside floats": [PHOTO, torch.tensor(np.asarray(other)).permute(2, 0, 1) / 255],
        "numpy and torch": [floats, np.asarray(other) / 255],
        "channels first and last": [floats, torch.tensor(np.asarray(other)) / 255],
    }
    differing = [
        form
        for form, images in lists.items()
        if not styled(prompts, seed=3, **{**inputs, "image": images}).images.equal(expected)
    ]
    assert not differing


def test_two_networks_take_an_image_each_of_any_form(make, tmp_path):
    styled, inputs = make(two_controlnets)
    expected = styled("a", seed=3, **inputs).images
    floats = torch.tensor(PIXELS).permute(2, 0, 1)[None] / 255
    for images in ([path_of(PHOTO, tmp_path), PIXELS], [floats, encode(PHOTO)], (floats, floats)):
        assert styled("a", seed=3, **{**inputs, "image": images}).images.equal(expected)
    # The condition of an inpainting ControlNet: −1 where the image is masked.
    masked = torch.where(torch.tensor(np.asarray(MASK) > 0), -1.0, floats)
    converted = convert_images(styled.pipe, {"image": [masked, PHOTO]})["image"]
    assert converted[0] is masked
    assert np.array_equal(pixels_of(converted[1]), PIXELS)


def test_a_network_of_one_channel_takes_grey_images(styled):
    def adapter(channels: int) -> T2IAdapter:
        return T2IAdapter(in_channels=channels, channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=4)

    pipe = wrap(StableDiffusionXLAdapterPipeline, styled.pipe, adapter=adapter(1))
    grey = PHOTO.convert("L")
    for image in (grey, PHOTO, np.asarray(grey), encode(grey)):
        assert np.array_equal(pixels_of(convert_images(pipe, {"image": image})["image"]), np.asarray(grey))
    pipe = wrap(StableDiffusionXLAdapterPipeline, styled.pipe, adapter=MultiAdapter([adapter(1), adapter(3)]))
    first, second = convert_images(pipe, {"image": [grey, grey]})["image"]
    assert (first.mode, second.mode) == ("L", "RGB")


def test_what_diffusers_defines_passes_unchanged(styled):
    text = styled.pipe
    latents = torch.randn(1, 4, 8, 8)
    floats = torch.tensor(PIXELS).permute(2, 0, 1)[None] / 255
    halves, numpy = (floats * 2 - 1).half(), PIXELS[None] / 255
    passed = [
        (wrap(StableDiffusionXLImg2ImgPipeline, text), {"image": value, "latents": latents})
        for value in (latents, floats, halves, numpy)
    ]
    passed += [
        (wrap(StableDiffusionXLInpaintPipeline, text), {"image": floats, "masked_image_latents": latents}),
        (wrap(StableDiffusionXLInpaintPipeline, text), {"mask_image": floats[:, :1], "image": None}),
        (wrap(StableDiffusionXLControlNetPipeline, text, controlnet=controlnet(text)), {"image": halves}),
        (text, {"latents": latents, "height": 16, "guidance_scale": 5.0}),
    ]
    for pipe, arguments in passed:
        converted = convert_images(pipe, arguments)
        assert all(converted[name] is value for name, value in arguments.items())
        assert set(converted) == set(arguments)


def test_one_image_of_floats_is_a_batch_of_one(make):
    # Some pipelines count images by the first axis: 3 channels would be 3 images.
    styled, inputs = make(one_controlnet)
    floats = torch.tensor(PIXELS).permute(2, 0, 1) / 255
    batch = styled("a", seed=3, **{**inputs, "image": floats[None]}).images
    assert styled("a", seed=3, **{**inputs, "image": floats}).images.equal(batch)
    assert styled("a", seed=3, **{**inputs, "image": PIXELS.astype(np.float32) / 255}).images.equal(batch)


def test_a_control_image_of_four_channels_is_no_latent(styled):
    pipe = wrap(StableDiffusionXLControlNetPipeline, styled.pipe, controlnet=controlnet(styled.pipe))
    rgba = torch.tensor(np.asarray(PHOTO.convert("RGBA"))).permute(2, 0, 1) / 255
    assert np.array_equal(pixels_of(convert_images(pipe, {"image": rgba})["image"]), PIXELS)
    pipe = wrap(StableDiffusionXLAdapterPipeline, styled.pipe, adapter=t2i_adapter())
    # Its preprocessing knows no numpy.
    assert np.array_equal(pixels_of(convert_images(pipe, {"image": PIXELS / 255})["image"]), PIXELS)


def test_a_crop_takes_images_of_any_form(make, tmp_path):
    styled, inputs = make(inpainting)
    inputs |= {"padding_mask_crop": 2, "output_type": "pil"}
    [expected] = styled("a", seed=3, **inputs).images
    floats, mask = torch.tensor(PIXELS).permute(2, 0, 1)[None] / 255, torch.tensor(np.asarray(MASK)) / 255
    for changed in (
        {"image": floats, "mask_image": mask},
        {"image": path_of(PHOTO, tmp_path), "mask_image": encode(MASK)},
    ):
        assert styled("a", seed=3, **{**inputs, **changed}).images == [expected]


def video_pipe() -> Any:
    call = pipeline_animatediff_video2video.AnimateDiffVideoToVideoPipeline.__call__
    return SimpleNamespace(vae=SimpleNamespace(config=SimpleNamespace(latent_channels=4)), __call__=call)


def test_frames_are_read_one_by_one(tmp_path):
    floats = torch.rand(5, 3, 16, 16)
    converted = convert_images(video_pipe(), {"video": [path_of(PHOTO, tmp_path), PIXELS, PHOTO]})["video"]
    assert [np.array_equal(pixels_of(frame), PIXELS) for frame in converted] == [True] * 3
    stacked = convert_images(video_pipe(), {"conditioning_frames": np.stack([PIXELS, PIXELS])})["conditioning_frames"]
    assert [np.array_equal(pixels_of(frame), PIXELS) for frame in stacked] == [True] * 2
    [[frame], [other]] = convert_images(video_pipe(), {"video": [[encode(PHOTO)], PIXELS[None]]})["video"]
    assert np.array_equal(pixels_of(frame), PIXELS)
    assert np.array_equal(pixels_of(other), PIXELS)
    for value in (floats, floats[None], [floats[0], floats[1]], [floats, floats]):
        found = convert_images(video_pipe(), {"video": value})["video"]
        assert found is value or all(a is b for a, b in zip(found, value, strict=True))
    with pytest.raises(ImageError, match=r"^video is str, and a file is read as one image; pass a list of frames\.$"):
        convert_images(video_pipe(), {"video": "clip.gif"})


REFUSED: dict[str, tuple[Any, str]] = {
    "number": (3, "image is int; pass the path"),
    "mapping": ({"a": 1}, "image is dict; pass the path"),
    "empty list": ([], "image is an empty list; pass images"),
    "None in a list": ([PHOTO, None], "image 2 is NoneType; pass the path"),
    "list of lists": ([[PHOTO]], "image 1 is list; pass the path"),
    "empty bytes": (b"", "image is empty (0 bytes)"),
    "other bytes": (b"abc", "image is "),
    "missing file": ("nowhere.png", "nowhere.png does not exist"),
    "address": ("https://example.com/a.png", "https:/example.com/a.png is an address"),
    "floats of 0..255": (PIXELS.astype(np.float32), "image is float32 [16, 16, 3] with values "),
    "tensor of 0..255": (torch.tensor(PIXELS).permute(2, 0, 1).float(), "image is float32 [3, 16, 16] with values "),
    "batch of 0..255": (torch.full((2, 3, 8, 8), 200.0), "image 1 is float32 [3, 8, 8] with values 200..200"),
    "16-bit integers": (PIXELS.astype(np.int16), "image is int16 [16, 16, 3] with values "),
    "NaN": (torch.full((3, 8, 8), torch.nan), "image is float32 [3, 8, 8] with values nan..nan"),
    "two channels": (np.zeros((8, 8, 2)), "image is float64 [8, 8, 2]; expected [height, width]"),
    "one axis": (torch.zeros(8), "image is float32 [8]; expected [height, width]"),
    "five axes": (torch.zeros(2, 2, 3, 8, 8), "image is float32 [2, 2, 3, 8, 8]; expected [height, width]"),
    "no pixels": (torch.zeros(3, 0, 8), "image is float32 [3, 0, 8]; expected [height, width]"),
    "words": (np.array([["a", "b"]]), "image is <U1 [1, 2]; expected"),
    "without values": (torch.zeros(3, 8, 8, device="meta"), "image is float32 [3, 8, 8]; its values cannot be read"),
    "latents of numpy": (np.full((1, 4, 8, 8), 3.0), "image is float64 [1, 4, 8, 8] with values 3..3"),
    "latents beside an image": ([PHOTO, torch.full((4, 8, 8), 3.0)], "image 2 is float32 [4, 8, 8] with values 3..3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_values_are_refused_by_the_name_of_the_argument(make, case):
    styled, inputs = make(image_to_image)
    value, message = REFUSED[case]
    with pytest.raises(ImageError) as refusal:
        styled("a", **{**inputs, "image": value})
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_a_mask_outside_of_0_to_1_is_refused(make):
    styled, inputs = make(inpainting)
    with pytest.raises(ImageError, match=r"^mask_image is float32 \[1, 16, 16\] with values -1\.\.-1; expected"):
        styled("a", **{**inputs, "mask_image": torch.full((1, 16, 16), -1.0)})


def test_images_of_diffusers_own_adapter_are_refused(make):
    styled, inputs = make(image_to_image)
    with pytest.raises(JobError, match=r"^negative_ip_adapter_image is for diffusers' own IP-Adapter"):
        styled("a", **inputs, negative_ip_adapter_image=PHOTO)


def test_every_image_argument_of_the_known_pipelines_is_converted_or_refused():
    holds_images = re.compile("Image")
    found = {
        name
        for cls in ROW_LAYOUTS
        for name, parameter in inspect.signature(getattr(diffusers, cls, object).__call__).parameters.items()
        if holds_images.search(str(parameter.annotation))
    }
    # Tensors by their documentation, whatever the annotation says.
    found -= {"ip_adapter_image", "ip_adapter_image_embeds", "negative_ip_adapter_image", "masked_image_latents"}
    assert found == {
        "image",
        "image_reference",
        "control_image",
        "mask_image",
        "control_mask",
        "video",
        "conditioning_frames",
    }
    assert found <= {*IMAGES, *MASKS, *FRAMES}
