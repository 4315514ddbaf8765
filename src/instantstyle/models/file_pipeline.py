"""The pipeline of a single-file checkpoint, with the parts that the file lacks."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ModelError
from ..utils.hub import fetch_file
from ..utils.library_logging import hide_warnings
from ..utils.text import join_first
from .network import import_diffusers_class
from .pipeline_files import find_pipeline_variant, list_left_out, read_index
from .registry import ModelCard
from .required_files import list_base_files
from .single_file import FAMILIES
from .transformer_file import find_file_conflicts

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


def load_file(card: ModelCard, base: ModelCard, dtype: torch.dtype) -> "DiffusionPipeline":
    """Load a single-file checkpoint.

    Args:
        card: The file.
        base: Its base, which has configs, tokenizers, and the parts that the file lacks.
        dtype: The dtype; weights in 8 bits are cast to it.

    Returns:
        The pipeline that the base's index names.

    Raises:
        ModelError: The tensors of the file are not those of the base's transformer, or some are missing.
        Exception: Whatever diffusers raises for damaged files.
    """
    from diffusers.utils import logging

    if base.folder.is_dir():
        folder = base.folder
        pipeline = import_diffusers_class(read_index(folder)["_class_name"])
    else:
        index, *_ = [fetch_file(base.pipeline, each.file, base.pipeline_revision) for each in list_base_files(card)]
        folder = index.parent
        pipeline = import_diffusers_class(FAMILIES[base.name].pipelines[0])
    # Once more, with the config of a base that was fetched.
    for error in find_file_conflicts(card):
        raise error
    parts = _load_parts(card, base, folder, dtype) if "transformer" in card.held else {}
    # Of modules to keep in float32, also where there are none, and of tensors that are not used.
    with hide_warnings(logging):
        pipe = pipeline.from_single_file(
            card.pipeline, config=str(folder), torch_dtype=dtype, local_files_only=True, **parts
        )
    for name, part in pipe.components.items():
        if not isinstance(part, nn.Module):
            continue
        if empty := [key for key, tensor in part.state_dict().items() if tensor.is_meta]:
            raise ModelError(f"{card.pipeline} lacks tensors of the {name}: {join_first(empty, 3)}; use another file.")
        # diffusers (0.42) leaves the dropout of a T5 from such a file on.
        part.eval()
    return pipe


def _load_parts(card: ModelCard, base: ModelCard, folder: "Path", dtype: torch.dtype) -> dict[str, Any]:
    """Load the components whose weights a file lacks, with the tokenizers and the scheduler."""
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils.import_utils import is_accelerate_available

    rest = DiffusionPipeline.from_pretrained(
        str(folder),
        dtype=dtype,
        variant=base.variant or find_pipeline_variant(folder),
        local_files_only=True,
        low_cpu_mem_usage=is_accelerate_available(),
        **list_left_out(folder),
        **dict.fromkeys(card.held),
    )
    # Those that the folder leaves out are given as None.
    return {name: part for name, part in rest.components.items() if name not in card.held}
