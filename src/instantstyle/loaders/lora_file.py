"""LoRA files: their tensors and the settings beside them, checked as far as that is possible without a model."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelError, StyleError
from ..unet.blocks import Block, BlockOrLayer, format_blocks
from ..utils.text import one_line, shorten
from .weight_files import WeightFile

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY = "lora_adapter_metadata"
"""Entry of a file's header in which diffusers stores the `LoraConfig` of each component, `{"unet.lora_alpha": 32}`
(`LORA_ADAPTER_METADATA_KEY` of diffusers' loaders/lora_base.py)."""

APPLIED_SETTINGS = frozenset(
    ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "fan_in_fan_out")
)
"""Settings of PEFT's `LoraConfig` that are used: they say what the factors mean."""

IGNORED_SETTINGS = frozenset(
    (
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "peft_type", "task_type"),
        *("peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "lora_dropout"),
        *("init_lora_weights", "bias", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("megatron_core", "runtime_config", "qalora_group_size", "ensure_weight_tying"),
    )
)
"""Settings that say which layers were trained, which the tensors say too, and how they were trained."""

KEPT_BASE = (None, True, False, "gaussian", "orthogonal", "mica")
"""Values of `init_lora_weights` that leave the base model as it is; others, such as "pissa", change its weights."""

BASES: Mapping[int, str] = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 2048: "SDXL"}
"""Base model of a LoRA by the width of the text tokens that its cross-attention reads."""

_TEXT_KEY = re.compile(r"attn2[._](?:processor\.)?to_k.*(?:down|lora_A)(?:\.default)?\.weight$")
_TRANSFORMER_KEY = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|single_transformer_blocks|joint_blocks)[._]")
"""Names that only diffusion transformers have: those of FLUX and of SD3."""

_BLOCK = re.compile(
    r"(?:(down|up)_blocks_(\d{1,4})|(mid)_block)_attentions_(\d{1,4})_|(input|output|middle)_blocks?_(\d{1,4})_(?:(1)_)?"
)
"""Part of a tensor's name, with `_` for dots, by which diffusers and Stability AI's code name a block."""

_FACTORS = re.compile(r"(?:lora_(?:A|B|down|up)|lora(?:_linear_layer)?\.(?:down|up))(?=\.|$)")
_PARTNERS = {"A": "B", "B": "A", "down": "up", "up": "down"}


@dataclass(frozen=True)
class LoraFile:
    """The content of a LoRA file.

    Attributes:
        file: The file.
        tensors: Tensors by name, in the layout of the file.
        settings: Arguments of `LoraConfig` by component, such as `unet`; empty where the file states none.
        sha256: SHA-256 of the file, in hexadecimal.
    """

    file: WeightFile
    tensors: "Mapping[str, Tensor]"
    settings: Mapping[str, Mapping[str, Any]]
    sha256: str

    @classmethod
    def read(cls, file: WeightFile, expected: str | None = None) -> "LoraFile":
        """Read a file.

        Args:
            file: The file.
            expected: Its SHA-256 in hexadecimal; None if it is unknown.

        Raises:
            ModelError: It cannot be read or is another file, or its settings cannot be applied.
        """
        contents = file.read(expected)
        return cls(file, contents.tensors, _read_settings(file, contents.metadata), contents.sha256)

    def check_base(self, width: object) -> None:
        """Refuse a LoRA of another base model by the width of its text tokens.

        Args:
            width: `cross_attention_dim` of the UNet; nothing is compared where it is no number.

        Raises:
            ModelError: The file was made for another base model.
        """
        expected, path = width if isinstance(width, int) else None, self.file.path
        if any(map(_TRANSFORMER_KEY.search, self.tensors)):
            raise ModelError(f"{path} is a LoRA of a diffusion transformer, such as FLUX, and this model is a UNet.")
        # A motion module's attn2 reads frames and not text.
        keys = [key for key in self.tensors if _TEXT_KEY.search(key) and "motion_modules" not in key]
        widths = {self.tensors[key].shape[1] for key in keys if self.tensors[key].ndim > 1}
        if widths and expected and expected not in widths:
            raise ModelError(
                f"{path} is a LoRA of {_join(BASES.get(width, 'another model') for width in widths)} (text tokens of "
                f"{_join(map(str, sorted(widths)))} numbers), and this model, "
                f"{BASES.get(expected, 'of another family')}, has {expected}; use one for this base."
            )

    def check_complete(self) -> None:
        """Check that each layer has both factors, and that diffusers applies all tensors.

        Raises:
            ModelError: A factor is missing, or the file is a DoRA of kohya's layout.
        """
        if scales := [name for name in self.tensors if name.endswith("dora_scale")]:
            raise ModelError(
                f"{self.file.path} is a DoRA of kohya's layout ({one_line(scales[0], 200)}), whose magnitudes "
                "diffusers drops; use a LoRA, or a DoRA saved by diffusers or PEFT."
            )
        partners = {name: _name_partner(name) for name in sorted(self.tensors)}
        if single := {name: partner for name, partner in partners.items() if partner and partner not in partners}:
            name, partner = next(iter(single.items()))
            raise ModelError(
                f"{self.file.path} is incomplete: {len(single)} of its tensors have no partner, such as "
                f"{one_line(name, 200)} without {one_line(partner, 200)}; download it again."
            )


def is_factor(name: str) -> bool:
    """Return whether a tensor of this name is the first factor of a layer, A of B·A."""
    match = _FACTORS.search(name)
    return match is not None and match[0].endswith(("A", "down"))


def find_blocks(names: Iterable[str], blocks: Iterable[Block]) -> set[Block]:
    """Find the transformer blocks of a UNet in which a LoRA file has layers, by the names of its tensors alone.

    Args:
        names: The names, in the layout of kohya's trainer, of diffusers or of PEFT.
        blocks: The blocks of the UNet, by which those of Stability AI's names are counted.

    Returns:
        The blocks; empty where the file has none, or has names of another layout.
    """
    known = [*blocks]
    # As diffusers' `_maybe_map_sgm_blocks_to_diffusers` counts: a group of blocks has one resampler.
    each = 1 + max((block.number + 1 for block in known if block.stage == "down_blocks"), default=0)
    matches = (_BLOCK.search(name.replace(".", "_")) for name in names if is_factor(name))
    found = (_parse_block(match, each) for match in matches if match)
    return {block for block in found if block in known}


def _parse_block(match: "re.Match[str]", each: int) -> Block | None:
    """Return the block of a match of `_BLOCK`; `each` is the number of places of a group in Stability AI's names."""
    side, index, mid, attention, part, place, has_attention = match.groups()
    if mid:
        return Block("mid_block", 0, int(attention))
    if side:
        return Block(f"{side}_blocks", int(index), int(attention))
    if part == "middle":
        return Block("mid_block", 0, 0) if place == "1" else None
    if not has_attention:
        return None
    # The first place of the input is its convolution.
    group, attention = divmod(int(place) - (part == "input"), each)
    return Block("down_blocks" if part == "input" else "up_blocks", group, attention)


def missing_layers_error(path: object, chosen: Iterable[BlockOrLayer], present: Iterable[Block]) -> StyleError:
    """Build the error for a LoRA file without layers in the chosen blocks.

    Args:
        path: The file.
        chosen: The blocks.
        present: Those in which it has layers.
    """
    own = format_blocks(present)
    has = (
        f"it has layers in {own}: choose among these"
        if own
        else "it changes no block of the UNet: merge it into the model, load(…, loras=[…])"
    )
    return StyleError(f"{path} has no layers in {format_blocks(chosen)}; {has}.")


def _name_partner(name: str) -> str | None:
    """Return the name of the other factor; None where the tensor is no factor."""
    match = _FACTORS.search(name)
    # The bias of a layer has no partner.
    if match is None or not name.endswith((match[0], ".weight")):
        return None
    [*_, word] = re.split(r"[._]", match[0])
    return f"{name[: match.end() - len(word)]}{_PARTNERS[word]}{name[match.end() :]}"


def _read_settings(file: WeightFile, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    if METADATA_KEY not in metadata:
        return {}
    try:
        stored = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise ModelError(f"{file.path} has a header that cannot be read ({METADATA_KEY}): {one_line(error)}") from None
    if not isinstance(stored, dict):
        raise ModelError(f"{file.path} has a header that cannot be read: {METADATA_KEY} is {shorten(stored)}.")
    settings: dict[str, dict[str, Any]] = {}
    for name, value in cast("dict[str, Any]", stored).items():
        component, _, setting = name.rpartition(".")
        _check_setting(file, setting, value)
        if setting in APPLIED_SETTINGS:
            settings.setdefault(component, {})[setting] = value
    return settings


def _check_setting(file: WeightFile, name: str, value: object) -> None:
    """Refuse what would be applied otherwise than it was trained."""
    is_known = name in APPLIED_SETTINGS | IGNORED_SETTINGS
    if name == "init_lora_weights":
        is_known = value in KEPT_BASE
    elif name == "peft_type":
        is_known = value in (None, "LORA")
    elif name == "bias":
        is_known = value in (None, "none")
    if not is_known and value:
        raise ModelError(
            f"{file.path} was trained with {shorten(name)} = {shorten(value)}, which cannot be merged into the "
            "weights of a model; use a LoRA without it."
        )


def _join(names: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(names))
