"""The layers of a UNet that a LoRA file changes, with the factors and the scale of each."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ModelError
from ..utils.text import one_line
from .lora_file import LoraFile

PEFT_DEFAULT = 8
"""`r` and `lora_alpha` of PEFT's `LoraConfig` where a file's settings leave them out."""

_FACTOR = re.compile(r"(.+)\.lora_(A|B)(?:\.default)?\.weight")
_TEXT_ENCODER = re.compile(r"(text_encoder(?:_\d+)?)\.")


@dataclass(frozen=True, eq=False)
class LoraLayer:
    """The change of one layer, scale · up · down, which is added to its weights."""

    down: Float[Tensor, "rank in"]
    """A of arXiv 2106.09685."""
    up: Float[Tensor, "out rank"]
    """B."""
    scale: float
    """α/r (section 4.1), or α/√r of a rank-stabilized LoRA (arXiv 2312.03732)."""


@dataclass(frozen=True, eq=False)
class LoraLayers:
    """What a LoRA file changes.

    Attributes:
        unet: Layers by the name of their module, such as `….transformer_blocks.0.attn1.to_q`.
        text: Number of layers by text encoder: `{"text_encoder": 72}`.
    """

    unet: Mapping[str, LoraLayer]
    text: Mapping[str, int]


def read_layers(file: LoraFile, pipe: Any, unet: nn.Module) -> LoraLayers:
    """Read the layers of a file, of which nothing is merged.

    Args:
        file: The file, in the layout of kohya's trainer, of diffusers or of PEFT.
        pipe: A pipeline of diffusers, whose `lora_state_dict` maps the names of kohya's layout.
        unet: Its UNet, not compiled.

    Raises:
        ModelError: The file is incomplete, was made for another base model, or has more than two factors a layer.
    """
    if not hasattr(pipe, "lora_state_dict"):
        raise ModelError(f"{type(pipe).__name__} takes no LoRA; leave it out.")
    file.check_base(pipe.unet.config.cross_attention_dim)
    file.check_complete()
    if not file.tensors:
        raise ModelError(f"{file.file.path} has no LoRA layers; it has no tensors. Use another file.")
    with _refuse(file):
        state, alphas, _ = pipe.lora_state_dict(
            dict(file.tensors), unet_config=pipe.unet.config, return_lora_metadata=True
        )
        text = Counter(match[1] for name in state if (match := _TEXT_ENCODER.match(name)))
        own = _to_peft({name: tensor for name, tensor in state.items() if not _TEXT_ENCODER.match(name)})
        factors = _pair_factors(file, own)
        named = _to_peft(alphas or {})
        scales = {name.split(".lora_A.")[0].removesuffix(".alpha"): alpha for name, alpha in named.items()}
        layers = {
            name: LoraLayer(down.flatten(1), up.flatten(1), _scale(file, name, len(down), scales))
            for name, (down, up) in factors.items()
        }
    _check_layers(file, layers, unet)
    return LoraLayers(layers, {name: number // 2 for name, number in text.items()})


@contextmanager
def _refuse(file: LoraFile) -> Generator[None]:
    """Report what diffusers raises for names and shapes that do not fit."""
    try:
        yield
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError, re.error) as error:
        raise ModelError(
            f"{file.file.path} does not fit this model ({one_line(error, 200)}); use a LoRA of kohya's trainer, "
            "diffusers or PEFT that was made for it."
        ) from error


def _to_peft(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries by the names that PEFT gives to the layers of a UNet."""
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    return {name.removeprefix("unet."): value for name, value in convert_unet_state_dict_to_peft(named).items()}


def _pair_factors(file: LoraFile, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A and B of each layer.

    Raises:
        ModelError: There are other tensors than factors, or two factors have no common rank.
    """
    path = file.file.path
    matches = {name: _FACTOR.fullmatch(name) for name in tensors}
    if others := [name for name, match in matches.items() if match is None]:
        raise ModelError(
            f"{path} has {len(others)} tensors that are no factors of a LoRA, such as {one_line(others[0], 200)}, as "
            "those of a DoRA, LoHa or LoKr have; use a LoRA, or merge the file into the model: load(…, loras=[…])."
        )
    by_layer: dict[str, dict[str, Tensor]] = {}
    for name, match in matches.items():
        assert match is not None
        by_layer.setdefault(match[1], {})[match[2]] = tensors[name]
    for name, each in by_layer.items():
        shapes = [tuple(each[letter].shape) if letter in each else None for letter in "AB"]
        down, up = shapes
        if not down or not up or len(down) < 2 or len(up) < 2 or down[0] != up[1] or not down[0]:
            raise ModelError(
                f"{path} has factors without a common rank: those of {one_line(name, 200)} have the shapes {down} and "
                f"{up}, expected (r, in) and (out, r). It is damaged or no LoRA; download it again."
            )
    return {name: (each["A"], each["B"]) for name, each in by_layer.items()}


def _scale(file: LoraFile, name: str, rank: int, alphas: Mapping[str, float]) -> float:
    """Return the scale of a layer, from the settings in the file's header or kohya's alpha; without either it is 1."""
    settings = file.settings.get("unet")
    if settings is None:
        return alphas.get(name, rank) / rank
    stated = _find_pattern(settings.get("rank_pattern"), name, settings.get("r", PEFT_DEFAULT))
    if stated != rank:
        raise ModelError(
            f"{file.file.path} has a header that states the rank {stated} for {one_line(name, 200)}, whose factors "
            f"have the rank {rank}; download it again."
        )
    alpha = _find_pattern(settings.get("alpha_pattern"), name, settings.get("lora_alpha", PEFT_DEFAULT))
    return alpha / (rank**0.5 if settings.get("use_rslora") else rank)


def _find_pattern(patterns: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    """Return the first value whose pattern is the end of a layer's name, as PEFT's `get_pattern_key`."""
    found = (value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", name))
    return next(found, default)


def _check_layers(file: LoraFile, layers: Mapping[str, LoraLayer], unet: nn.Module) -> None:
    """Refuse a file with layers that the UNet does not have, or has in another size."""
    modules = dict(unet.named_modules())
    if unknown := [name for name in layers if name not in modules]:
        raise ModelError(
            f"{file.file.path} has LoRA layers that this model does not have, such as {one_line(unknown[0], 200)}; "
            "use one that was made for it."
        )
    for name, layer in layers.items():
        expected, found = _sizes(modules[name]), (layer.down.shape[1], len(layer.up))
        if expected != found:
            what = "no layer with weights" if expected is None else "{}→{}".format(*expected)
            raise ModelError(
                f"{file.file.path} does not fit this model: its factors of {one_line(name, 200)} are for a layer "
                f"{found[0]}→{found[1]}, which is {what} here; use one that was made for this base."
            )


def _sizes(module: Any) -> tuple[int, int] | None:
    """Return the numbers that a linear layer or convolution reads and writes, perhaps inside of a wrapper of PEFT."""
    module = getattr(module, "base_layer", module)
    if hasattr(module, "in_features"):
        return module.in_features, module.out_features
    if hasattr(module, "kernel_size"):
        return module.in_channels * prod(module.kernel_size), module.out_channels
    return None
