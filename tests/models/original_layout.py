"""Files of FLUX.1, Chroma and SD3.5 in the layout of the original implementations, made of small models.

The names are those of flux1-dev.safetensors (github.com/black-forest-labs/flux), of Chroma1-HD.safetensors and of
sd3.5_large.safetensors (github.com/Stability-AI/sd3.5): queries, keys and values are one tensor, and what modulates
the last layer is in another order than in diffusers.
"""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from torch import Tensor

State = dict[str, Tensor]

FLUX_WIDTH = 3072
"""Width of FLUX.1 and Chroma, which diffusers' conversion has as a constant."""


def narrow_conversion(monkeypatch: pytest.MonkeyPatch, class_name: str, width: int) -> None:
    """Replace the constant in diffusers' conversion, so that it converts a small transformer."""
    convert: FunctionType = SINGLE_FILE_LOADABLE_CLASSES[class_name]["checkpoint_mapping_fn"]
    constants = tuple(width if each == FLUX_WIDTH else each for each in convert.__code__.co_consts)
    assert constants != convert.__code__.co_consts
    narrow = FunctionType(convert.__code__.replace(co_consts=constants), convert.__globals__, convert.__name__)
    monkeypatch.setitem(SINGLE_FILE_LOADABLE_CLASSES, class_name, {"checkpoint_mapping_fn": narrow, **_REST})


_REST = {"default_subfolder": "transformer"}


def write_flux(state: Mapping[str, Tensor]) -> State:
    """Rename the tensors of a `FluxTransformer2DModel`."""
    found = _write_blocks(state)
    for own, theirs in {"time_in": "timestep", "vector_in": "text", "guidance_in": "guidance"}.items():
        found |= _rename(
            state,
            {
                f"{own}.{layer}_layer": f"time_text_embed.{theirs}_embedder.linear_{n}"
                for n, layer in ((1, "in"), (2, "out"))
            },
        )
    found |= _rename(state, {"final_layer.adaLN_modulation.1": "norm_out.linear"}, _swap)
    blocks = {"img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear"}
    found |= _rename_blocks(state, "double_blocks", "transformer_blocks", blocks)
    return found | _rename_blocks(
        state, "single_blocks", "single_transformer_blocks", {"modulation.lin": "norm.linear"}
    )


def write_chroma(state: Mapping[str, Tensor]) -> State:
    """Rename the tensors of a `ChromaTransformer2DModel`."""
    found = _write_blocks(state)
    prefix = "distilled_guidance_layer"
    for name, tensor in state.items():
        if name.startswith(f"{prefix}.norms."):
            found[name.replace(".weight", ".scale")] = tensor
        elif name.startswith(prefix):
            found[name.replace("linear_1", "in_layer").replace("linear_2", "out_layer")] = tensor
    return found


def write_sd3(state: Mapping[str, Tensor]) -> State:
    """Rename the tensors of an `SD3Transformer2DModel` whose blocks have one attention."""
    found = _rename(
        state,
        {
            "x_embedder.proj": "pos_embed.proj",
            "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
            "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
            "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
            "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
            "context_embedder": "context_embedder",
            "final_layer.linear": "proj_out",
        },
    )
    found["pos_embed"] = state["pos_embed.pos_embed"]
    found |= _rename(state, {"final_layer.adaLN_modulation.1": "norm_out.linear"}, _swap)
    count = len({name.split(".")[1] for name in state if name.startswith("transformer_blocks.")})
    for block in range(count):
        own, theirs = f"joint_blocks.{block}", f"transformer_blocks.{block}"
        is_last = block == count - 1
        for stream, kind in (("x_block", ""), ("context_block", "_context")):
            letters = [f"to_{x}" for x in "qkv"] if not kind else [f"add_{x}_proj" for x in "qkv"]
            norms = ("norm_q", "norm_k") if not kind else ("norm_added_q", "norm_added_k")
            found |= _join(state, f"{own}.{stream}.attn.qkv", [f"{theirs}.attn.{each}" for each in letters])
            found |= _rename(
                state,
                {
                    f"{own}.{stream}.attn.ln_q": f"{theirs}.attn.{norms[0]}",
                    f"{own}.{stream}.attn.ln_k": f"{theirs}.attn.{norms[1]}",
                    f"{own}.{stream}.attn.proj": f"{theirs}.attn.{'to_add_out' if kind else 'to_out.0'}",
                    f"{own}.{stream}.mlp.fc1": f"{theirs}.ff{kind}.net.0.proj",
                    f"{own}.{stream}.mlp.fc2": f"{theirs}.ff{kind}.net.2",
                },
            )
            modulation = {f"{own}.{stream}.adaLN_modulation.1": f"{theirs}.norm1{kind}.linear"}
            found |= _rename(state, modulation, _swap if is_last and kind else None)
    return found


def _write_blocks(state: Mapping[str, Tensor]) -> State:
    """Rename what FLUX.1 and Chroma share."""
    found = _rename(state, {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"})
    for stream, kind in (("img", ""), ("txt", "_context")):
        norms = ("norm_added_q", "norm_added_k") if kind else ("norm_q", "norm_k")
        names = {
            f"{stream}_attn.proj": "attn.to_add_out" if kind else "attn.to_out.0",
            f"{stream}_mlp.0": f"ff{kind}.net.0.proj",
            f"{stream}_mlp.2": f"ff{kind}.net.2",
        }
        found |= _rename_blocks(state, "double_blocks", "transformer_blocks", names)
        for block in _count(state, "transformer_blocks"):
            own, theirs = f"double_blocks.{block}.{stream}_attn", f"transformer_blocks.{block}.attn"
            letters = [f"add_{x}_proj" for x in "qkv"] if kind else [f"to_{x}" for x in "qkv"]
            found |= _join(state, f"{own}.qkv", [f"{theirs}.{each}" for each in letters])
            found[f"{own}.norm.query_norm.scale"] = state[f"{theirs}.{norms[0]}.weight"]
            found[f"{own}.norm.key_norm.scale"] = state[f"{theirs}.{norms[1]}.weight"]
    found |= _rename_blocks(state, "single_blocks", "single_transformer_blocks", {"linear2": "proj_out"})
    for block in _count(state, "single_transformer_blocks"):
        own, theirs = f"single_blocks.{block}", f"single_transformer_blocks.{block}"
        parts = [*(f"{theirs}.attn.to_{x}" for x in "qkv"), f"{theirs}.proj_mlp"]
        found |= _join(state, f"{own}.linear1", parts)
        found[f"{own}.norm.query_norm.scale"] = state[f"{theirs}.attn.norm_q.weight"]
        found[f"{own}.norm.key_norm.scale"] = state[f"{theirs}.attn.norm_k.weight"]
    return found


def _rename(
    state: Mapping[str, Tensor], names: Mapping[str, str], changed: Callable[[Tensor], Tensor] | None = None
) -> State:
    """Take tensors by the names of their layers; a layer that a model does not have is left out."""
    found: State = {}
    for own, theirs in names.items():
        for end in ("weight", "bias"):
            tensor = state.get(f"{theirs}.{end}")
            if tensor is not None:
                found[f"{own}.{end}"] = tensor if changed is None else changed(tensor)
    return found


def _rename_blocks(state: Mapping[str, Tensor], own: str, theirs: str, names: Mapping[str, str]) -> State:
    return _rename(
        state,
        {f"{own}.{n}.{name}": f"{theirs}.{n}.{layer}" for n in _count(state, theirs) for name, layer in names.items()},
    )


def _count(state: Mapping[str, Tensor], blocks: str) -> range:
    return range(len({name.split(".")[1] for name in state if name.startswith(f"{blocks}.")}))


def _join(state: Mapping[str, Tensor], name: str, layers: list[str]) -> State:
    ends = ("weight", "bias")
    return {f"{name}.{end}": torch.cat([state[f"{layer}.{end}"] for layer in layers]) for end in ends}


def _swap(tensor: Tensor) -> Tensor:
    """Put the shift before the scale."""
    scale, shift = tensor.chunk(2, dim=0)
    return torch.cat([shift, scale])


WRITERS: Mapping[str, Callable[[Mapping[str, Any]], State]] = {
    "FluxTransformer2DModel": write_flux,
    "ChromaTransformer2DModel": write_chroma,
    "SD3Transformer2DModel": write_sd3,
}
"""What writes the original layout of each class."""


def write_vae(state: Mapping[str, Tensor]) -> State:
    """Rename the tensors of an `AutoencoderKL` whose encoder and decoder have one block."""
    found: State = {}
    for name, tensor in state.items():
        own = name
        for theirs, original in _VAE_NAMES.items():
            own = own.replace(theirs, original)
        is_projection = ".mid.attn_1." in own and own.endswith("weight") and tensor.ndim == 2
        found[own] = tensor[:, :, None, None] if is_projection else tensor
    return found


_VAE_NAMES = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "attn_1.group_norm": "attn_1.norm",
    "attn_1.to_q": "attn_1.q",
    "attn_1.to_k": "attn_1.k",
    "attn_1.to_v": "attn_1.v",
    "attn_1.to_out.0": "attn_1.proj_out",
    "down_blocks.0.resnets": "down.0.block",
    "up_blocks.0.resnets": "up.0.block",
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
}
"""Parts of the names of a VAE's tensors in diffusers, by which they are renamed in this order."""
