"""Whether the tensors of a single-file checkpoint are those of its transformer, before any is read."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, ModelError
from ..loaders.state_dict import open_state_dict
from ..utils.file_stamp import Stamp, file_stamp
from ..utils.text import join_first, one_line
from .network import TRANSFORMER_CLASSES, build_meta_network, find_network_class, find_network_config
from .registry import ModelCard
from .single_file import NETWORK_PREFIX, Shapes

_QUANTIZED = ("scale_weight", "weight_scale", "scaled_fp8", "comfy_quant", "absmax", "quant_state", "quant_map")
"""Parts of names beside weights that are quantized: by scales in 8 or 4 bits (ComfyUI), or by bitsandbytes."""

_BLOCKS = ("double_blocks.", "single_blocks.", "joint_blocks.")
"""Prefixes of the names of blocks in the original layouts."""

MAX_NAMES = 3
"""Number of tensors that an error names."""


def find_file_conflicts(card: ModelCard) -> Iterator[ModelError]:
    """Find what loading a single-file checkpoint with a transformer would refuse.

    Args:
        card: The model. Without the config of its transformer on this machine, only quantized weights are found.

    Yields:
        At most one error: the weights are quantized, or tensors are missing, unknown or of another shape.
    """
    if "transformer" not in card.held:
        return
    try:
        tensors = open_state_dict(card.pipeline)
        if scaled := [name for name in tensors.shapes if any(part in name for part in _QUANTIZED)]:
            yield ModelError(
                f"{card.pipeline} has quantized weights, which are not read ({join_first(scaled, MAX_NAMES)}); use a "
                "file in bfloat16, float16 or plain float8."
            )
            return
        tensors.check_floating(tensors.shapes, card.pipeline)
    except CheckpointError as error:
        yield ModelError(str(error))
        return
    config = find_network_config(card)
    try:
        class_name = None if config is None else find_network_class(config)
    # What is wrong with the config is reported where the layers of the network are found.
    except CheckpointError:
        return
    if config is None:
        return
    if class_name is None:
        yield ModelError(
            f"{config} is the config of no transformer that is styled ({', '.join(TRANSFORMER_CLASSES)}), and "
            f"{card.pipeline} needs one; download the config again."
        )
        return
    if fault := _compare(tensors.shapes, config, class_name):
        base = "" if card.base is None else f" of {card.base.name}"
        yield ModelError(f"{card.pipeline} does not fit the transformer{base} ({config}): {fault}.")


def _compare(shapes: Shapes, config: Path, class_name: str) -> str | None:
    """Describe what of a file differs from the network of a config; None if nothing does."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    try:
        settings, expected = _read_expected(config, file_stamp(config), class_name)
    # What diffusers raises for damaged JSON and for sizes that do not fit together: reported as above.
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError):
        return None
    checkpoint = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    convert: Any = SINGLE_FILE_LOADABLE_CLASSES[class_name]["checkpoint_mapping_fn"]
    try:
        found = {name: tuple(tensor.shape) for name, tensor in convert(checkpoint=checkpoint, config=settings).items()}
    except KeyError as error:
        return f"it has no tensor {error.args[0]}"
    # What the conversion raises for shapes and numbers that are not those of the family.
    except (ValueError, IndexError, RuntimeError) as error:
        return f"its tensors are not those of the family ({one_line(error, 200)})"
    missing = [name for name in expected if name not in found]
    # The conversion leaves what it does not know.
    unknown = [name for name in found if name not in expected]
    unknown += [name for name in checkpoint if name.removeprefix(NETWORK_PREFIX).startswith(_BLOCKS)]
    misshapen = [
        f"{name} is {_times(shape)} and not {_times(expected[name])}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]
    parts = {"missing are": missing, "unknown are": unknown, "of another shape": misshapen}
    return "; ".join(f"{what} {join_first(names, MAX_NAMES)}" for what, names in parts.items() if names) or None


@lru_cache(maxsize=4)
def _read_expected(
    config: Path, stamp: Stamp, class_name: str
) -> tuple[Mapping[str, Any], Mapping[str, tuple[int, ...]]]:
    """Return the settings of a config, and the shapes of the tensors of its network.

    Args:
        config: The config's file.
        stamp: Time of its last change in ns, and its size: a changed file is read again.
        class_name: The network's class in diffusers.
    """
    network = build_meta_network(config, class_name)
    return network.config, {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"
