"""Every public argument is checked by type before it is used; numbers of Python and numpy are read alike."""

# Arguments of other types are passed on purpose.
# pyright: reportArgumentType=false

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from instantstyle import InstantStyle, InstantStyleError, Style, StyleConditioning, StyleError
from instantstyle.core.conditioning import as_conditionings
from instantstyle.unet.block_selection import select_blocks
from instantstyle.unet.blocks import copy_spec
from instantstyle.utils.numbers import is_finite_number, read_numbers


@pytest.fixture(autouse=True)
def _unchecked_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call the code as users do: annotations are checked at run time in tests only."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


HUGE = 10**5000
"""An integer beyond every float, and beyond what Python writes."""


@pytest.fixture(scope="module")
def ink() -> Style:
    return Style(torch.randn(1, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(8))


@pytest.fixture(scope="module")
def neon() -> Style:
    return Style(torch.randn(1, 8, generator=torch.Generator().manual_seed(2)), torch.zeros(8))


def refusal(call: Callable[[], object]) -> str:
    """Return the message of a refusal, which is one line."""
    with pytest.raises(InstantStyleError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_numbers_of_python_and_numpy_are_finite_numbers_and_nothing_else_is():
    numbers = (1, 0.5, -2, Fraction(1, 2), np.float32(0.5), np.float16(0.5), np.int64(1), np.uint8(1))
    others = (
        True,
        np.bool_(1),
        "1",
        None,
        HUGE,
        -HUGE,
        float("nan"),
        np.float32("inf"),
        1j,
        [1],
        np.ones(1),
        np.array(1),
    )
    assert [number for number in numbers if not is_finite_number(number)] == []
    assert [other for other in others if is_finite_number(other)] == []


def test_a_list_of_numbers_is_any_ordered_collection_of_finite_numbers():
    lists = (
        [1, 0.5],
        (1, 0.5),
        np.array([1, 0.5]),
        torch.tensor([1, 0.5]),
        [np.int8(1), Fraction(1, 2)],
        iter([1, 0.5]),
    )
    assert [read_numbers(each) for each in lists] == [[1.0, 0.5]] * len(lists)
    others = (
        {1, 2},
        {1: 2},
        b"ab",
        "12",
        Fraction(1, 2),
        np.array(1.0),
        np.ones((2, 2)),
        1.0,
        None,
        [HUGE],
        [True],
        [[1]],
    )
    assert [read_numbers(each) for each in others] == [None] * len(others)


def test_weights_of_blocks_may_be_numbers_of_numpy(styled: InstantStyle):
    architecture = styled.architecture
    block = architecture.roles["style"][0]
    for weight, expected in ((np.float32(0.5), 0.5), (np.int64(1), 1.0), (Fraction(1, 4), 0.25)):
        spec = {"style": weight}
        assert select_blocks(spec, architecture.blocks, architecture.roles) == {block: expected}
        assert all(type(each) is float for each in copy_spec(spec).values())  # pyright: ignore


def test_weights_of_a_mix_and_shares_may_be_numbers_of_numpy(ink: Style, neon: Style):
    wanted = Style.mix([(ink, 0.25), (neon, 0.75)]).embedding()
    mixes = (
        ink.interpolate(neon, np.float32(0.75)),  # pyright: ignore
        ink.interpolate(neon, Fraction(3, 4)),  # pyright: ignore
        Style.mix({ink: np.float32(0.25), neon: np.float64(0.75)}),
        Style.mix({ink: np.int64(1), neon: np.uint8(3)}),
        replace(ink, image_embeds=torch.cat([ink.image_embeds, neon.image_embeds]), weights=np.array([1, 3])),  # pyright: ignore
        replace(ink, image_embeds=torch.cat([ink.image_embeds, neon.image_embeds]), weights=(1, 1)).with_weights(
            np.array([0.25, 0.75])  # pyright: ignore
        ),
    )
    for mix in mixes:
        torch.testing.assert_close(mix.embedding(), wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "curve", [np.array([0, 1, 0]), torch.tensor([0.0, 1, 0]), (Fraction(0), Fraction(1), 0), iter([0, 1, 0])]
)
def test_a_curve_may_be_an_array_tensor_or_iterator(ink: Style, curve: Any):
    factor = StyleConditioning(ink, curve=curve).schedule
    assert factor
    assert [factor(progress) for progress in (0.0, 0.25, 0.5, 0.75)] == [0.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize(
    "curve", [{0.5, 1.0}, {0.0: 1.0}, b"ab", Fraction(1, 2), np.array(0.5), [HUGE], [True], "12", []]
)
def test_a_curve_without_order_or_numbers_is_refused(ink: Style, curve: Any):
    assert "it must be one finite number or several" in refusal(lambda: StyleConditioning(ink, curve=curve))


def test_a_conditioning_does_not_follow_later_changes_of_its_arguments(ink: Style, neon: Style):
    blocks, curve, styles = {"style": 1.0}, [1.0, 0.0], [ink, neon]
    conditioning = StyleConditioning(styles, blocks, curve=curve)
    blocks["layout"], curve[1], styles[0] = 1.0, 1.0, neon
    assert conditioning.blocks == {"style": 1.0}
    assert conditioning.styles == (ink, neon)
    assert conditioning.schedule
    assert conditioning.schedule(0.5) == 0.5


def test_arguments_of_a_conditioning_are_checked_by_type(ink: Style, reference: Any):
    refusals = {
        "style is ": [{"style": each} for each in (reference, "ink.png", None, [], [ink, reference], {ink: 1})],
        "negative_style is ": [{"style": ink, "negative_style": each} for each in (reference, "n.png", [ink])],
        "unconditional is ": [{"style": ink, "unconditional": each} for each in ("no", 1, None)],
        "blocks cannot be ": [{"style": ink, "blocks": each} for each in (3, None, b"style", [3], {3.5})],
        "No block is selected": [{"style": ink, "blocks": each} for each in ([], {}, ())],
        "scale is ": [{"style": ink, "scale": each} for each in (HUGE, None, "1", [1])],
        "start is ": [{"style": ink, "start": each} for each in (HUGE, None, True)],
    }
    for start, calls in refusals.items():
        for call in calls:
            message = refusal(lambda call=call: StyleConditioning(**call))
            assert message.startswith(start), (call, message)


def test_whole_numbers_beside_a_conditioning_are_the_defaults_too(ink: Style):
    settings: dict[str, Any] = {"start": 0, "end": np.int64(1), "scale": 1, "curve": None}
    assert as_conditionings(StyleConditioning(ink), **settings)[0].style is ink
    with pytest.raises(StyleError, match="end beside a StyleConditioning"):
        as_conditionings(StyleConditioning(ink), end=True)


def test_arguments_of_a_mix_are_checked_by_type(ink: Style, neon: Style, reference: Any):
    refusals = {
        "other is ": [lambda: ink.interpolate(reference, 0.5), lambda: ink.interpolate("neon", 0.5)],  # pyright: ignore
        "share is ": [
            lambda share=share: ink.interpolate(neon, share)
            for share in (HUGE, True, None, "0.5", -1, float("nan"), [0.5])
        ],
        "parts are ": [lambda parts=parts: Style.mix(parts) for parts in (3, None, ink, [ink], "ab")],
        "The weight of a style in a mix is ": [
            lambda weight=weight: Style.mix({ink: weight, neon: 1}) for weight in (HUGE, True, None, "1", -1, [1])
        ],
        "The weights of a mix ": [lambda: Style.mix({ink: 1e308, neon: 1e308})],
        "A mix cannot be made on ": [lambda: Style.mix({ink: 1, neon: 1}, on=["keys"])],  # pyright: ignore
        "content_scale is ": [
            lambda scale=scale: ink.with_removal(scale)
            for scale in (HUGE, True, "auto", [1])  # pyright: ignore
        ],
        "removal cannot be ": [
            lambda removal=removal: ink.with_removal(1.0, removal) for removal in (["mask"], 3, "")
        ],
        "Weights are ": [
            lambda weights=weights: ink.with_weights(weights) for weights in (2.0, "a", {1}, [HUGE], [None])
        ],
    }
    for start, calls in refusals.items():
        for number, call in enumerate(calls):
            message = refusal(call)
            assert message.startswith(start), (start, number, message)


def test_a_second_content_scale_that_is_no_number_is_refused(styled: InstantStyle, reference: Any):
    style = styled.style(reference, content="a")
    for scale in ("auto", float("nan"), HUGE, [1]):
        assert refusal(lambda scale=scale: styled.minus(style, "b", scale)).startswith("content_scale is ")  # pyright: ignore


def test_arguments_of_a_style_are_checked_by_type(styled: InstantStyle, reference: Any):
    refusals: dict[str, list[dict[str, Any]]] = {
        "weights are ": [{"weights": each} for each in (2.0, {1}, {1: 2.0}, "1", [HUGE], [True], [[1]])],
        "There is no crop ": [{"crop": each} for each in (None, ["center"], 3, "fit")],
        "removal cannot be ": [{"removal": each, "content": "a"} for each in (["subtract"], 3, "")],
        "combine cannot be ": [{"combine": each} for each in (["concat"], None)],
        "content is ": [{"content": each} for each in ("\ud800", ["a", "\0"], {"a"}, 3, [3])],
        "content 1 is not an image": [{"content": b"a"}],
        "mask_quantile is ": [
            {"content": "a", "removal": "mask", "mask_quantile": each} for each in (HUGE, True, "0.5", -0.1)
        ],
        "colour_scale is ": [{"texture": reference, "colour_scale": each} for each in (HUGE, True, "1")],
        "texture_scale is ": [{"texture": reference, "texture_scale": each} for each in (HUGE, [1])],
        "content_scale is ": [{"content": "a", "content_scale": each} for each in (HUGE, True, [1])],
        "content_scale=": [{"content_scale": each} for each in (0.5, np.float32(0.5))],
    }
    for start, calls in refusals.items():
        for call in calls:
            message = refusal(lambda call=call: styled.style(reference, **call))
            assert message.startswith(start), (call, message)


def test_arguments_of_a_call_are_checked_by_type(styled: InstantStyle, reference: Any, short: dict[str, Any]):
    refusals: dict[str, list[dict[str, Any]]] = {
        "prompt is ": [{"prompt": each} for each in ([None], "\ud800", ["a", "b\0"], b"a", {"a"}, 3)],
        "negative_prompt is ": [{"negative_prompt": each} for each in ("\ud800", ["\0"])],
        "prompt_2 is ": [{"prompt_2": "\udfff"}],
        "StableDiffusionXLPipeline has no argument 'true_cfg_scale'. Its guidance is": [{"true_cfg_scale": 3.0}],
        "guidance_scale is ": [{"guidance_scale": each} for each in ("3", None, float("nan"), True, HUGE, [3.0])],
        "guidance_rescale is ": [{"guidance_rescale": each} for each in ("3", None, float("inf"))],
        "guidance_interval is ": [
            {"guidance_interval": each} for each in ((True, True), (0, HUGE), 3, {0, 1}, "ab", (0.1,))
        ],
        "seed is ": [{"seed": each} for each in (-1, 2**63, True, 1.5, HUGE)],
        "seed ": [{"seed": 2**63 - 1, "num_images_per_prompt": 2}],
        "num_inference_steps is ": [{"num_inference_steps": each} for each in (True, 1.5, "3", 0)],
        "A name in blocks is empty": [{"style": reference, "blocks": each} for each in ("", "style+", ["style", " "])],
        "No block is selected": [{"style": reference, "blocks": each} for each in ({}, [])],
    }
    for start, calls in refusals.items():
        for call in calls:
            message = refusal(lambda call=call: styled(**{"prompt": "a", **short, **call}))
            assert message.startswith(start), (call, message)


def test_the_last_seed_is_one_that_a_recipe_holds(styled: InstantStyle, short: dict[str, Any]):
    assert styled("a", seed=2**63 - 1, **short).record.seeds == (2**63 - 1,)
    two = styled("a", seed=np.int64(2**63 - 2), num_images_per_prompt=2, **short)  # pyright: ignore
    assert two.record.seeds == (2**63 - 2, 2**63 - 1)


def test_numbers_of_numpy_give_the_images_of_pythons(styled: InstantStyle, reference: Any, short: dict[str, Any]):
    style = styled.style(reference)
    python = {"scale": 0.5, "start": 0.25, "end": 1, "blocks": {"style": 0.5}, "guidance_scale": 3.0}
    numpy = {
        **{
            "scale": np.float32(0.5),
            "start": np.float16(0.25),
            "end": np.int64(1),
            "blocks": {"style": np.float32(0.5)},
        },
        "guidance_scale": np.float32(3.0),
    }
    one, other = (
        styled("a", style=style, seed=1, guidance_interval=interval, **settings, **short).images
        for settings, interval in ((python, (0.0, 0.5)), (numpy, np.array([0, 0.5])))
    )
    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_settings_of_a_style_without_a_style_are_refused(styled: InstantStyle, reference: Any, short: dict[str, Any]):
    settings: dict[str, Any] = {
        **{
            "negative_style": reference,
            "mask": reference,
            "blocks": "nonsense",
            "start": 0.9,
            "end": 0.1,
            "curve": [1.0],
        },
        **{"scale": 0.5, "crop": "pad", "content": "a", "content_scale": 0.5, "removal": "mask"},
    }
    for name, value in settings.items():
        message = refusal(lambda name=name, value=value: styled("a", **{name: value}, **short))
        assert message.startswith(f"{name} "), message
        assert "style is None" in message
    plain: dict[str, Any] = {"blocks": "style", "scale": 1, "start": 0, "end": 1.0, "crop": "center", "mask": None}
    one, other = (styled("a", seed=1, **settings, **short).images for settings in ({}, plain))
    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_a_crop_of_ready_styles_is_refused(styled: InstantStyle, reference: Any, short: dict[str, Any], tmp_path: Any):
    style = styled.style(reference)
    path = style.save(tmp_path / "ink.style.safetensors")
    ready = (style, [style], StyleConditioning(style), [StyleConditioning(style)], path)
    for each in ready:
        message = refusal(lambda each=each: styled("a", style=each, crop="pad", **short))
        assert message.startswith("crop='pad' "), message
    assert refusal(lambda: styled.style([style, path], crop="squash")).startswith("crop='squash' ")
    mixed = styled.style([path, reference], crop="pad")
    assert mixed.image_embeds[1].equal(styled.style(reference, crop="pad").image_embeds[0]) or mixed.image_embeds[
        0
    ].equal(styled.style(reference, crop="pad").image_embeds[0])
