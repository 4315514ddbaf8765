"""How much memory does one style keep on SDXL, ready for generation, in addition to the UNet itself?

    python -m benchmarks.resident -o benchmarks/results/resident.json    # writes 4.4 GB to a temporary folder

Each arm runs in a new process: the resident bytes after it is ready, minus those before; and the same after
unused memory is returned to the system. Unused memory is also returned before the first measurement, because
an arm could otherwise use what imports have left free. SDXL's UNet, adapter and image encoder (OpenCLIP
ViT-bigG/14) have their true shapes in float16, with arbitrary numbers. The UNet's own weights are never
written and take no memory; everything that an arm keeps is read once, as in generation. What an arm imports
is not counted: it runs on a small UNet first.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from diffusers.utils import is_accelerate_available
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.full_size import AdapterPipeline
from benchmarks.rounds import create_parser, write_report
from benchmarks.sdxl import ADAPTER, SDXL_UNET, TINY_UNET, create_meta_unet, embedding_dim, write_adapter
from instantstyle import Style, StyleConditioning
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.attention.decoupled import StyleKeyValues
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

VIT_BIGG: dict[str, Any] = {
    "hidden_size": 1664,
    "intermediate_size": 8192,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
"""huggingface.co/h94/IP-Adapter, sdxl_models/image_encoder/config.json."""

TINY_VIT: dict[str, Any] = {
    **VIT_BIGG,
    "hidden_size": 104,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "image_size": 28,
    "num_attention_heads": 2,
    "projection_dim": 80,
}
"""Each width divided by 16."""

ENCODER, STYLE = "image_encoder", "ink.style.safetensors"
SIZES = {"full": (SDXL_UNET, VIT_BIGG), "tiny": (TINY_UNET, TINY_VIT)}
SEED = 0

KeyValues = Mapping[str, tuple[StyleKeyValues, ...]]
"""Keys and values of a style by layer."""

Kept = tuple[Any, list[Tensor]]
"""What an arm keeps for its style, and the tensors in it."""


def create_unet(size: str) -> Any:
    """Create a UNet in float16 whose weights are never written, so that they take no memory."""
    return create_meta_unet(SIZES[size][0]).to(torch.float16).to_empty(device="cpu")


def write_files(folder: Path, size: str) -> None:
    """Write what the arms load: an adapter, an image encoder and a style bound with that adapter."""
    unet = create_meta_unet(SIZES[size][0])
    folder.mkdir()
    write_adapter(folder / ADAPTER, cross_attention_layers(unet), embedding_dim(unet), SEED)
    write_encoder(folder / ENCODER, SIZES[size][1])
    style = create_random_style(embedding_dim(unet))
    adapter = IPAdapter(IPAdapterCheckpoint.open(folder / ADAPTER), unet)
    style.with_binding(adapter.bind(style)).save(folder / STYLE)


def write_encoder(folder: Path, sizes: Mapping[str, Any]) -> None:
    """Write an image encoder of zeros in float16."""
    config = CLIPVisionConfig(**sizes)
    with torch.device("meta"):
        state = CLIPVisionModelWithProjection(config).state_dict()
    config.save_pretrained(folder)
    zeros = {name: torch.zeros(tensor.shape, dtype=torch.float16) for name, tensor in state.items()}
    save_file(zeros, folder / "model.safetensors", {"format": "pt"})


def create_random_style(width: int) -> Style:
    """Create a style of random numbers, as wide as the image encoder's embeddings."""
    generator = Generator().manual_seed(SEED)
    return Style(torch.randn(1, width, generator=generator), torch.zeros(width))


def load_bound_style(unet: Any, folder: Path) -> Kept:
    """Arm: a bound style file, with neither adapter nor image encoder."""
    style = Style.load(folder / STYLE)
    bound = to_half(cast(KeyValues, IPAdapter(None, unet).style_layers(StyleConditioning(style))))
    return (style, bound), list_tensors(bound)


def bind_style(unet: Any, folder: Path) -> Kept:
    """Arm: a style bound by the adapter, which is kept without weights; no image encoder."""
    adapter = IPAdapter(IPAdapterCheckpoint.open(folder / ADAPTER), unet)
    style = create_random_style(embedding_dim(unet))
    bound = to_half(cast(KeyValues, adapter.style_layers(StyleConditioning(style))))
    return (adapter, style, bound), list_tensors(bound)


def to_half(bound: KeyValues) -> KeyValues:
    """Convert keys and values to float16, as layers in float16 keep them."""
    return {
        name: tuple(keys.to(torch.empty(0, dtype=torch.float16)) for keys in styles) for name, styles in bound.items()
    }


def list_tensors(bound: KeyValues) -> list[Tensor]:
    """List all keys and values."""
    return [tensor for styles in bound.values() for keys in styles for tensor in (keys.key, keys.value)]


class EncoderPipeline(AdapterPipeline):
    """A pipeline for which diffusers' loader of adapters loads the image encoder as well."""

    dtype, device = torch.float16, torch.device("cpu")
    image_encoder: nn.Module | None = None

    def register_modules(self, **modules: Any) -> None:
        """Keep the loaded modules as attributes, as a `DiffusionPipeline` does."""
        vars(self).update(modules)


def load_in_diffusers(unet: Any, folder: Path) -> Kept:
    """Arm: diffusers' own path, `load_ip_adapter` with the image encoder."""
    pipe, before = EncoderPipeline(unet), {id(weight) for weight in unet.parameters()}
    options = {"low_cpu_mem_usage": is_accelerate_available(), "image_encoder_folder": ENCODER}
    pipe.load_ip_adapter(str(folder), subfolder="", weight_name=ADAPTER, **options)
    assert pipe.image_encoder is not None
    added = [weight for weight in unet.parameters() if id(weight) not in before]
    return pipe, [*added, *pipe.image_encoder.parameters()]


ARMS: dict[str, Callable[[Any, Path], Kept]] = {
    "our bound style file": load_bound_style,
    "ours, bound by the adapter": bind_style,
    "diffusers, adapter and encoder": load_in_diffusers,
}
"""The arms by their names in the results."""


@torch.no_grad()
def read_tensors(tensors: Iterable[Tensor]) -> None:
    """Read all tensors, so that memory-mapped files become resident."""
    for tensor in tensors:
        tensor.amax()


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def release_unused_memory() -> None:
    """Return unused memory to the system; only glibc keeps it otherwise."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def measure_arm(arm: str, folder: Path, size: str) -> dict[str, int]:
    """Measure an arm in this process.

    Returns:
        `resident_bytes` that the arm adds, `held_bytes` of them that are in use, and `tensor_bytes` of the
        tensors that it keeps.
    """
    create = ARMS[arm]
    read_tensors(create(create_unet("tiny"), folder / "tiny")[1])
    unet = create_unet(size)
    release_unused_memory()
    before = resident_bytes()
    kept, tensors = create(unet, folder / size)
    read_tensors(tensors)
    gc.collect()
    after = resident_bytes()
    release_unused_memory()
    held = resident_bytes()
    assert kept
    read = sum(tensor.nbytes for tensor in tensors)
    return {"resident_bytes": after - before, "held_bytes": held - before, "tensor_bytes": read}


def measure_in_new_process(arm: str, folder: Path, size: str) -> dict[str, int]:
    """Measure an arm in a new process."""
    command = [sys.executable, "-m", "benchmarks.resident", "--arm", arm, "--folder", str(folder)]
    done = subprocess.run([*command, "--size", size], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_arms(size: str, rounds: int) -> dict[str, Any]:
    """Measure all arms; of each the median over rounds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for needed in {"tiny", size}:
            write_files(folder / needed, needed)
        runs = {arm: [measure_in_new_process(arm, folder, size) for _ in range(rounds)] for arm in ARMS}
        files = {path.name: path.stat().st_size for path in (folder / size).iterdir() if path.is_file()}
    arms = {arm: {key: median(run[key] for run in each) for key in each[0]} for arm, each in runs.items()}
    return {"arms": arms, "file_bytes": files}


def main() -> None:
    """Run the benchmark, or one arm of it in this process."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, rounds=3)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--arm", choices=ARMS, help="only this arm, in this process; needs --folder")
    parser.add_argument("--folder", type=Path, help="of the files that the arm loads")
    args: argparse.Namespace = parser.parse_args()
    if args.arm:
        print(json.dumps(measure_arm(args.arm, args.folder, args.size)))
        return
    write_report(question, args, measure_arms(args.size, args.rounds), excluded=["arm", "folder"])


if __name__ == "__main__":
    main()
