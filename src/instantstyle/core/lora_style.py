"""`LoraStyle`: a LoRA file that acts in some blocks, steps, rows and places of a call, without being merged."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import RequestWarning, StyleError
from ..loaders.lora_file import LoraFile, missing_layers_error
from ..loaders.lora_layers import LoraLayer, read_layers
from ..loaders.weight_files import find_lora
from ..unet.architectures import Architecture
from ..unet.blocks import Block, BlockSpec, copy_spec, find_weight
from ..utils.caller_warnings import warn_caller
from ..utils.text import shorten
from .attention.weight import Weight
from .conditioning import MaskLike, StyleConditioning, check_strength, load_mask, make_schedule, split_kind
from .frame_weights import FrameWeights, copy_frame_weights
from .injection import StyleLayers
from .low_rank import LowRankHook, MaskedTextProjections, hook_layers
from .pipeline_call import unwrap_compiled
from .protocols import Pipeline
from .row_layout import RowLayout
from .shared_attention import SharedAttention
from .style import Style
from .styled_network import Injection, StyledNetwork

TEXT_PROJECTIONS = (".attn2.to_k", ".attn2.to_v")
"""Ends of the names of layers whose input is the text, so that a mask of the image cannot weigh it."""


@dataclass(frozen=True, eq=False)
class LoraStyle:
    """A LoRA file as a style: its layers in some blocks of the UNet act, and no weight of the model changes.

    Two halves of B-LoRAs (arXiv 2403.14572), the style of one with the content of another:

        style=[LoraStyle("ink.safetensors", blocks="up_blocks.0.attentions.1"),
               LoraStyle("cat.safetensors", blocks="up_blocks.0.attentions.0")]

    Raises:
        BlockError: `blocks` is not a `BlockSpec`, or is empty.
        ModelError: There is no such file, or it cannot be read.
        StyleError: A setting is of another type or out of range.
    """

    file: str | Path | LoraFile = field(repr=False)
    """A .safetensors file, in the layout of kohya's trainer, of diffusers or of PEFT. It is read here, once: a later
    change of it has no effect. `LoraStyle(other.file)` shares what another has read."""
    blocks: BlockSpec = "style"
    """Blocks, as in `StyleConditioning`; their weights are factors on the scale."""
    scale: float = 1.0
    """0 has no effect; 1 is the strength that the LoRA was trained with, α/r of its file."""
    mask: MaskLike | None = None
    """White where it acts, see `StyleConditioning`. In self-attention it weighs the pixels that are read, too."""
    start: float = 0.0
    end: float = 1.0
    curve: Sequence[float] | None = None
    """Factors on the scale over the steps, see `StyleConditioning`."""
    frames: FrameWeights | None = None
    """Factors on the scale over the frames of a video."""
    positive_only: bool = False
    """Whether it acts in the conditional part of a batch only, so that guidance steers away from the base model."""

    def __post_init__(self) -> None:
        curve = check_strength(self.scale, self.start, self.end, self.curve)
        if not isinstance(cast(object, self.positive_only), bool):
            raise StyleError(f"positive_only is {shorten(self.positive_only)}; it is True or False.")
        if not isinstance(cast(object, self.file), str | Path | LoraFile):
            raise StyleError(f"file is {shorten(self.file)}; it is the path of a LoRA, a .safetensors file.")
        copies: dict[str, object] = {
            **{"blocks": copy_spec(self.blocks), "curve": curve, "frames": copy_frame_weights(self.frames)},
            **{name: float(getattr(self, name)) for name in ("scale", "start", "end")},
            "file": self.file if isinstance(self.file, LoraFile) else LoraFile.read(find_lora(self.file)),
        }
        for name, value in copies.items():
            object.__setattr__(self, name, value)

    @property
    def contents(self) -> LoraFile:
        """The file with its tensors."""
        return cast(LoraFile, self.file)

    @property
    def label(self) -> str:
        """Name of the file."""
        return self.contents.file.path.name

    def choose_layers(self, pipe: Pipeline, architecture: Architecture) -> dict[str, tuple[LoraLayer, float]]:
        """Return the layers of the blocks by their names, each with its weight.

        Args:
            pipe: The pipeline.
            architecture: Blocks and roles of its network.

        Returns:
            The layers; none where the scale is 0 or no block is selected.

        Raises:
            BlockError: The network has no such block.
            ModelError: The file was made for another model, is incomplete or is no LoRA.
            StyleError: The file has no layers in the blocks.
        """
        weights = architecture.select_in_all_rows(self.blocks, "a LoraStyle")
        if self.scale == 0 or not weights:
            return {}
        path, found = self.contents.file.path, read_layers(self.contents, pipe, _network(pipe))
        factors = {name: find_weight(weights, name) for name in found.unet}
        chosen = {name: (layer, factors[name]) for name, layer in found.unet.items() if factors[name]}
        if not chosen:
            own = {block for name in found.unet if (block := Block.from_layer_name(name))}
            raise missing_layers_error(path, weights, own)
        outside = [name for name in found.unet if Block.from_layer_name(name) is None]
        others = {**({"the UNet outside of its transformer blocks": len(outside)} if outside else {}), **found.text}
        if others:
            parts = " and ".join(f"{name} ({number} layers)" for name, number in others.items())
            warn_caller(
                f"{self.label} changes {parts} too, which is in no block and is left out. To apply the whole file, "
                "merge it into the model: load(…, loras=[…]).",
                RequestWarning,
            )
        return chosen


LoraStyles = LoraStyle | Sequence[LoraStyle | StyleConditioning | Style | SharedAttention]
"""`LoraStyle` as the `style` of a call, alone or beside others."""


class PreparedLoras:
    """LoRA files fitted to a UNet, with nothing installed yet."""

    def __init__(self, loras: Sequence[LoraStyle], pipe: Pipeline, architecture: Architecture) -> None:
        """
        Args:
            loras: The files with their settings.
            pipe: The pipeline.
            architecture: Blocks and roles of its network.

        Raises:
            BlockError: The network has no such block.
            ModelError: A file was made for another model, is incomplete or is no LoRA.
            StyleError: A file has no layers in its blocks, or the UNet is compiled or has fused projections.
        """
        self._pipe = pipe
        self._hooks: list[tuple[nn.Module, LowRankHook]] = []
        self._text: dict[str, list[MaskedTextProjections]] = {}
        for lora in loras:
            self._add(lora, lora.choose_layers(pipe, architecture))

    @property
    def style_layers(self) -> list[StyleLayers]:
        """What acts in attention layers, innermost, for `inject_attention_processors`."""
        return [{name: tuple(each) for name, each in self._text.items()}] if self._text else []

    def _add(self, lora: LoraStyle, chosen: Mapping[str, tuple[LoraLayer, float]]) -> None:
        if not chosen:
            return
        network, styled = _network(self._pipe), StyledNetwork.of(self._pipe.unet)
        _check_runs_hooks(self._pipe, chosen)
        mask = None if lora.mask is None else load_mask(lora.mask)
        schedule = make_schedule(lora.start, lora.end, lora.curve)
        masked: dict[str, dict[str, LoraLayer]] = {}
        weights: dict[str, Weight] = {}
        for name, (layer, factor) in chosen.items():
            weight = Weight(torch.tensor(lora.scale * factor), mask, schedule, lora.frames, lora.positive_only)
            if mask is not None and name.endswith(TEXT_PROJECTIONS):
                attention, _, projection = name.rpartition(".")
                masked.setdefault(attention, {})[projection], weights[attention] = layer, weight
            else:
                self._hooks.append((network.get_submodule(name), LowRankHook(layer, weight, styled.state)))
        for name, each in masked.items():
            projections = MaskedTextProjections(each.get("to_k"), each.get("to_v"), weights[name])
            self._text.setdefault(f"{name}.processor", []).append(projections)

    @contextmanager
    def injected(self, row_layout: RowLayout | None, scheduler: object) -> Generator[None]:
        """Let the layers act for the `with` block.

        Args:
            row_layout: Parts of a batch where no known pipeline is running.
            scheduler: The scheduler that the caller has named for a loop of their own.

        Raises:
            StyleError: Another thread styles the network.
        """
        if not self._hooks:
            yield
            return
        unet = self._pipe.unet
        injection = Injection({}, None, row_layout, scheduler, self._pipe.scheduler)
        with StyledNetwork.of(unet).injected(unet, injection), hook_layers(self._hooks):
            yield


def split_loras(style: object) -> tuple[list[LoraStyle], Any]:
    """Separate LoRA files from the other styles of a call.

    Args:
        style: The `style` argument.

    Returns:
        The files, and what is left; None where nothing is.
    """
    return split_kind(style, LoraStyle)


def _network(pipe: Pipeline) -> nn.Module:
    return cast(nn.Module, unwrap_compiled(pipe.unet))


def _check_runs_hooks(pipe: Pipeline, names: Mapping[str, object]) -> None:
    """Check that layers run as modules of their own.

    Raises:
        StyleError: The network is compiled, or computes several projections at once.
    """
    network = _network(pipe)
    if StyledNetwork.of(pipe.unet).is_compiled(pipe.unet):
        raise StyleError(
            "A LoRA cannot act in blocks of a compiled network; use the network before compiling, or merge the file "
            "into the model: load(…, loras=[…])."
        )
    for name in names:
        attention, _, projection = name.rpartition(".")
        processor = getattr(network.get_submodule(attention), "processor", None)
        if projection in ("to_q", "to_k", "to_v") and type(processor).__name__.startswith("Fused"):
            raise StyleError(
                f"{attention} computes its projections at once, so that a LoRA would have no effect; call "
                "pipe.unfuse_qkv_projections() first."
            )
