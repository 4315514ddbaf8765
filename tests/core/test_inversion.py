"""DDIM inversion: the equations, the trajectory against a closed form, its file, and calls that go through it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from instantstyle import InstantStyle, Inversion, JobError, ModelError, SharedAttention, StyleConditioning, StyleError
from instantstyle.core.inverse_scheduler import InverseScheduler, build_ddim, find_coefficients
from instantstyle.core.latent_colours import encode_picture
from instantstyle.errors import RequestWarning

from ..conftest import make_pipe

STEPS = 3
SIZE = {"width": 16, "height": 16}
TYPES = ("epsilon", "v_prediction", "sample")


@pytest.fixture(scope="module")
def model(tokenizer_folder, state, image_encoder) -> InstantStyle:
    """One model for all tests: a call changes nothing in it."""
    pipe = make_pipe(tokenizer_folder)
    settings: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "prediction_type": "v_prediction"}
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **settings)
    with torch.no_grad():
        # The fixed-point iteration converges where the output changes less than the latents. In random weights that
        # read latents of deviation 0.03 it changes more, unlike in trained ones.
        pipe.unet.conv_out.weight.mul_(0.02)
    return InstantStyle(pipe, adapter=state, image_encoder=image_encoder)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    noise = torch.randint(0, 256, (24, 32, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    return Image.fromarray(noise.numpy())


@pytest.fixture(scope="module")
def inversion(model, picture) -> Inversion:
    return model.invert(picture, "a", steps=STEPS, iterations=8, **SIZE)


def draw(model: InstantStyle, prompt: Any, **arguments: Any) -> Tensor:
    seed = {} if "inversion" in arguments else {"seed": 1}
    return model(prompt, **{**seed, "guidance_scale": 1.0, "output_type": "latent", **arguments}).images


@pytest.mark.parametrize("prediction_type", TYPES)
def test_the_coefficients_are_those_of_the_scheduler_of_diffusers(prediction_type: str):
    settings: Any = {"prediction_type": prediction_type, "clip_sample": False, "set_alpha_to_one": False}
    scheduler: Any = DDIMScheduler(**settings)
    scheduler.set_timesteps(7)
    inverse = InverseScheduler(scheduler, 1)
    latents, output = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for timestep in scheduler.timesteps.tolist():
        factor, of_output = inverse.coefficients(timestep)
        expected = scheduler.step(output, timestep, latents).prev_sample
        assert_close(factor * latents + of_output * output, expected, msg=f"{prediction_type} {timestep}")


def test_a_step_that_cannot_be_solved_is_refused():
    assert find_coefficients(0.0, 0.36, "v_prediction") == pytest.approx((0.8, -0.6))
    for arguments, message in (
        ((0.0, 0.5, "epsilon"), "without signal"),
        ((0.5, 1.0, "sample"), "keeps nothing of its latents"),
        ((0.0, 1.0, "v_prediction"), "keeps nothing of its latents"),
        ((0.5, 0.6, "flow"), "cannot be inverted for prediction_type 'flow'"),
    ):
        with pytest.raises(ModelError, match=message):
            find_coefficients(*arguments)


def test_the_trajectory_is_the_closed_form_where_the_output_of_the_network_is_known(model, picture, monkeypatch):
    """With m(z) = c·z a step is z_s = (A + c·B)·z_t, whose inverse is a division."""
    c = 0.3
    monkeypatch.setattr(
        type(model.pipe.unet), "forward", lambda self, sample, *_, **__: (c * sample, SimpleNamespace())
    )
    found = model.invert(picture, steps=STEPS, iterations=30, **SIZE)
    scheduler = InverseScheduler(build_ddim(model.pipe.scheduler), 1)
    scheduler.set_timesteps(STEPS)
    latents = encode_picture(model.pipe, picture.resize((16, 16)), (8, 8))
    latents = found.trajectory[-1:].clone()
    expected = [latents]
    for timestep in scheduler.timesteps.tolist():
        factor, of_output = scheduler.coefficients(timestep)
        expected.insert(0, expected[0] / (factor + c * of_output))
    assert_close(found.trajectory, torch.cat(expected), rtol=1e-4, atol=1e-5)
    # One evaluation at each step, at the latents after it, is the inversion of the DDIM paper.
    plain = model.invert(picture, steps=STEPS, iterations=1, **SIZE).trajectory
    for place, timestep in enumerate(scheduler.timesteps.tolist()):
        factor, of_output = scheduler.coefficients(timestep)
        after = plain[STEPS - place]
        assert_close(plain[STEPS - 1 - place], (after - of_output * c * after) / factor)


def test_the_last_latents_are_those_of_the_picture(model, picture, inversion):
    squashed = model.invert(picture, steps=1, iterations=1, crop="squash", **SIZE)
    resized = picture.resize((16, 16), Image.Resampling.LANCZOS)
    assert_close(squashed.trajectory[1:], encode_picture(model.pipe, resized, (8, 8)))
    # In its proportions and the area of the model's size: 8 × 8 latents of 2 px.
    own = model.invert(picture, steps=1, iterations=1)
    assert (own.width, own.height) == (16, 16)
    assert inversion.trajectory.shape == (STEPS + 1, 4, 8, 8)


def test_drawn_again_it_gives_the_picture_back(model, inversion):
    """Within 0.02 of latents whose deviation is near 1; with one evaluation a step, the error is larger."""
    again = draw(model, "a", inversion=inversion)
    assert_close(again[0], inversion.trajectory[-1], rtol=0, atol=2e-2)


def test_more_iterations_give_it_back_better(model, picture, inversion):
    errors = []
    for iterations in (1, 4):
        found = model.invert(picture, "a", steps=STEPS, iterations=iterations, **SIZE)
        errors.append((draw(model, "a", inversion=found)[0] - found.trajectory[-1]).abs().mean())
    assert errors[1] < errors[0] / 5
    assert draw(model, "b", inversion=inversion).ne(draw(model, "a", inversion=inversion)).any()


def test_all_images_begin_with_its_latents_and_the_pipeline_is_as_before(model, inversion):
    scheduler = model.pipe.scheduler
    both = draw(model, ["a", "b"], inversion=inversion)
    alone = torch.cat([draw(model, prompt, inversion=inversion) for prompt in "ab"])
    assert_close(both, alone, rtol=1e-4, atol=1e-4)
    assert model.pipe.scheduler is scheduler
    with pytest.raises(JobError, match="a pipeline without a name"):
        model("a", inversion=inversion).recipe()


def test_equal_images_of_a_prompt_are_refused_and_a_seed_without_effect_is_named(model, inversion):
    with pytest.raises(JobError, match="all 2 would be equal; leave it out, or give different prompts"):
        model("a", inversion=inversion, num_images_per_prompt=2)
    twice = "Prompts 1 and 3 are the same, 'a', .* do not depend on a seed, so that both would be equal"
    with pytest.raises(JobError, match=twice):
        model(["a", "b", "a"], inversion=inversion)
    with pytest.raises(JobError, match="Prompts 1 and 2 are the same, 'a'"):
        model(["a", "a"], inversion=inversion, negative_prompt=["c", "c"], style=SharedAttention())
    embeds = {name: torch.zeros(2, 77, 32) for name in ("prompt_embeds",)}
    with pytest.raises(JobError, match="Prompts 1 and 2 are the same, and images"):
        model(None, inversion=inversion, **embeds)
    with pytest.warns(RequestWarning, match="seed has no effect on images that begin with an inversion"):
        named = model("a", inversion=inversion, seed=5, output_type="latent").images
    assert_close(named, model("a", inversion=inversion, output_type="latent").images, rtol=0, atol=0)
    shared = SharedAttention(reference=inversion)
    pair = draw(model, "b", style=shared, num_images_per_prompt=2, seed=5)
    assert pair[0].ne(pair[1]).any()


def test_equal_prompts_with_something_else_of_their_own_begin_with_one_inversion(model, inversion, picture):
    first, second = model.style(picture), model.style(picture.transpose(Image.Transpose.ROTATE_90))
    different: list[dict[str, Any]] = [
        {"style": [first, second]},
        {"style": StyleConditioning([first, second])},
        {"negative_prompt": ["b", "c"], "guidance_scale": 3.0},
    ]
    for arguments in different:
        pair = draw(model, ["a", "a"], inversion=inversion, **arguments)
        assert pair[0].ne(pair[1]).any(), arguments
    for equal in ([first, first], StyleConditioning([first, first])):
        with pytest.raises(JobError, match="Prompts 1 and 2 are the same"):
            draw(model, ["a", "a"], inversion=inversion, style=equal)


def test_the_advice_of_shared_attention_with_one_image_can_be_followed(model, inversion):
    with pytest.raises(StyleError) as refused:
        model("a", style=SharedAttention(), inversion=inversion)
    assert str(refused.value).endswith("several prompts, prompt=[…, …], or reference=styled.invert(picture).")
    assert len(draw(model, ["a", "b"], style=SharedAttention(), inversion=inversion)) == 2
    assert len(draw(model, "a", style=SharedAttention(reference=inversion), inversion=inversion)) == 1


def test_the_first_row_replays_the_latents_and_is_not_returned(model, inversion):
    rows: list[Tensor] = []

    def record(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {}

    seen = model.pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(args[0].clone()), with_kwargs=True
    )
    shared = SharedAttention(reference=inversion)
    try:
        images = draw(model, ["b", "c"], style=shared, guidance_scale=5.0, callback_on_step_end=record)
    finally:
        seen.remove()
    assert [len(each) for each in rows] == [6] * STEPS
    for place, batch in enumerate(rows):
        assert_close(batch[[0, 3]], inversion.trajectory[place].expand(2, -1, -1, -1), msg=str(place))
    whole = replace(shared, return_reference=True)
    returned = draw(model, ["b", "c"], style=whole, guidance_scale=5.0)
    assert_close(returned[0], inversion.trajectory[-1])
    assert returned[1:].equal(images)
    plain = draw(model, ["b", "c"], guidance_scale=5.0, num_inference_steps=STEPS, **SIZE)
    assert (images - plain).abs().amax((1, 2, 3)).gt(1e-3).all()


def test_one_text_for_all_rows_is_the_same_as_one_for_each(model, inversion):
    shared = {"style": SharedAttention(reference=inversion), "guidance_scale": 5.0}
    for name, text in (("negative_prompt", "d"), ("prompt_2", "d"), ("negative_prompt_2", "")):
        one, each = (draw(model, ["b", "c"], **{name: value}, **shared) for value in (text, [text, text]))
        assert one.equal(each), name


def test_without_weight_the_images_are_the_plain_ones(model, inversion):
    shared = SharedAttention(reference=inversion, scale=0.0)
    plain = draw(model, ["b", "c"], num_images_per_prompt=2, num_inference_steps=STEPS, **SIZE)
    assert_close(draw(model, ["b", "c"], num_images_per_prompt=2, style=shared), plain, rtol=1e-4, atol=1e-4)


def test_a_file_gives_equal_bits_and_equal_bytes(inversion, tmp_path):
    path = inversion.save(tmp_path / "a.safetensors")
    loaded = Inversion.load(path)
    assert loaded.trajectory.equal(inversion.trajectory)
    assert loaded.alphas.equal(inversion.alphas)
    names = ("timesteps", "prediction_type", "prompt", "guidance_scale", "iterations")
    names += ("fingerprint", "width", "height")
    assert [getattr(loaded, name) for name in names] == [getattr(inversion, name) for name in names]
    assert path.read_bytes() == loaded.save(tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(path.read_bytes()[:-9])
    other = path.read_bytes().replace(b"instantstyle inversion", b"instantstyle inversiom")
    (tmp_path / "d.safetensors").write_bytes(other)
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({**tensors, "trajectory": tensors["trajectory"].long()}, tmp_path / "f.safetensors", metadata)
    refused = [("c", "not a complete file"), ("d", "is not an inversion"), ("e", "There is no file")]
    for name, message in (*refused, ("f", "needs finite tensors .* of floats")):
        with pytest.raises(StyleError, match=message):
            Inversion.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(JobError, match=r"should end in \.safetensors"):
        inversion.save(tmp_path / "a.png")


def test_another_model_size_scheduler_or_number_of_steps_is_refused(model, inversion, monkeypatch):
    for arguments, message in (
        ({"height": 32}, "height is 32, and the inversion has 16"),
        ({"num_inference_steps": 9}, "num_inference_steps is 9, and the inversion has 3"),
        ({"timesteps": [900, 500]}, "timesteps cannot be used with an inversion"),
        ({"denoising_end": 0.5}, "denoising_end cannot be used with an inversion"),
        ({"latents": torch.zeros(1, 4, 8, 8)}, "latents and inversion exclude each other"),
    ):
        with pytest.raises(JobError, match=message):
            model("a", inversion=inversion, **arguments)
    with pytest.raises(StyleError, match="made with another model; invert the picture again"):
        model("a", inversion=replace(inversion, fingerprint="0" * 16))
    with pytest.raises(StyleError, match=r"made with another scheduler"):
        model("a", inversion=replace(inversion, alphas=inversion.alphas * 0.9))
    with pytest.raises(StyleError, match=r"of 32×16 px has latents of shape .* the file was changed"):
        model("a", inversion=replace(inversion, width=32), width=32)
    own = model.pipe.scheduler
    changes: dict[str, Any]
    for changes in ({"prediction_type": "sample"}, {"set_alpha_to_one": not own.config.set_alpha_to_one}):
        other: Any = DDIMScheduler.from_config(own.config, **changes)
        monkeypatch.setattr(model.pipe, "scheduler", other)
        with pytest.raises(StyleError, match="made with another scheduler"):
            model("a", inversion=inversion)
    monkeypatch.setattr(model.pipe, "scheduler", own)
    # Beyond the first elements of a tensor.
    weight = model.pipe.unet.conv_out.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.flatten()[100:].neg_()
    with pytest.raises(StyleError, match="made with another model"):
        model("a", inversion=inversion)
    with torch.no_grad():
        weight.copy_(before)
    euler: Any = EulerDiscreteScheduler.from_config(model.pipe.scheduler.config)
    monkeypatch.setattr(model.pipe, "scheduler", euler)
    for settings in ({"inversion": inversion}, {"style": SharedAttention(reference=inversion)}):
        with pytest.raises(StyleError, match='has EulerDiscreteScheduler; load the model with scheduler="ddim"'):
            model("a", **settings)


def test_what_cannot_be_inverted_is_refused(model, picture, inversion, reference):
    for arguments, message in (
        ({"steps": 0}, "steps is 0; it must be a whole number from 1"),
        ({"iterations": 0}, "iterations is 0"),
        ({"width": 12}, "width is 12; it must be a multiple of 8"),
        ({"steps": 1001}, "steps is 1001; the model has 1000 timesteps"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
        ({"step": 3}, "has no argument 'step'"),
        ({"num_inference_steps": 3}, "num_inference_steps cannot be given to an inversion: it is steps here"),
        ({"num_images_per_prompt": 2}, "num_images_per_prompt cannot be given to an inversion: there is one picture"),
        ({"latents": torch.zeros(1, 4, 8, 8)}, "latents cannot be given to an inversion"),
        ({"eta": 0.5}, "eta cannot be given to an inversion: its steps are those of DDIM"),
        ({"timesteps": [500, 300]}, "timesteps cannot be given"),
        ({"prompt_embeds": torch.zeros(1, 7, 32)}, "prompt_embeds cannot be given to an inversion: an inversion re"),
    ):
        with pytest.raises(JobError, match=message):
            model.invert(picture, **arguments)
    with model.using(model.style(reference)), pytest.raises(StyleError, match="outside of the `using` block"):
        model.invert(picture, steps=1)
    other = model.with_pipeline(StableDiffusionXLImg2ImgPipeline.from_pipe(model.pipe))
    with pytest.raises(ModelError, match="draws images from latents, and StableDiffusionXLImg2ImgPipeline does not"):
        other.invert(picture)
    with pytest.raises(StyleError, match="return_reference belongs to reference"):
        SharedAttention(return_reference=True)
    styles = [model.style(reference)] * 2
    with pytest.raises(StyleError, match="one style for all prompts"):
        model(["b", "c"], style=[*styles, SharedAttention(reference=inversion)])
