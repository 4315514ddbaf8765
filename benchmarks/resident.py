"""How much memory does one style keep on SDXL, ready to draw, beside the network itself?

    python -m benchmarks.resident -o benchmarks/results/resident.json    # writes 4.4 GB to a temporary folder

Each arm in a fresh process: the resident bytes after it is ready, less those before; and the same once memory
that nobody holds is handed back to the system. Before, it is handed back in any case, or what an arm keeps
would lie unseen in what imports have left free. SDXL's network, adapter and image encoder (OpenCLIP
ViT-bigG/14) have their true shapes, in float16, and numbers that mean nothing. The network's own are never
touched and take no memory; all that an arm keeps is read once, as drawing reads it. What an arm imports is
not counted: it runs on a small network first.
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
from typing import Any

import torch
from diffusers.utils import is_accelerate_available
from safetensors.torch import save_file
from torch import Generator, Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.full_size import Guest
from benchmarks.rounds import parser, report
from benchmarks.sdxl import ADAPTER, SDXL_UNET, TINY_UNET, embedding_dim, sketched, write_adapter
from instantstyle import Style, StyleConditioning
from instantstyle.core.ip_adapter import Bound, IPAdapter, cross_attention_layers
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

VIT_BIGG = {
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

TINY_VIT = {
    **VIT_BIGG,
    "hidden_size": 104,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "image_size": 28,
    "num_attention_heads": 2,
    "projection_dim": 80,
}
"""Each width a sixteenth."""

ENCODER, STYLE = "image_encoder", "ink.style.safetensors"
SIZES = {"full": (SDXL_UNET, VIT_BIGG), "tiny": (TINY_UNET, TINY_VIT)}
SEED = 0

Kept = tuple[Any, list[Tensor]]
"""What an arm keeps for its style, and the tensors in it."""


def network(size: str) -> Any:
    """Memory is given to it when its numbers are first written, which they never are."""
    return sketched(SIZES[size][0]).to(torch.float16).to_empty(device="cpu")


def write_files(folder: Path, size: str) -> None:
    """What the arms load: an adapter, an image encoder and a style bound with that adapter."""
    unet = sketched(SIZES[size][0])
    folder.mkdir()
    write_adapter(folder / ADAPTER, cross_attention_layers(unet), embedding_dim(unet), SEED)
    write_encoder(folder / ENCODER, SIZES[size][1])
    ink = style(embedding_dim(unet))
    ink.with_binding(IPAdapter(IPAdapterCheckpoint.open(folder / ADAPTER), unet).binding(ink)).save(
        folder / STYLE
    )


def write_encoder(folder: Path, shape: Mapping[str, Any]) -> None:
    """In float16, of zeros."""
    config = CLIPVisionConfig(**shape)
    with torch.device("meta"):
        state = CLIPVisionModelWithProjection(config).state_dict()
    config.save_pretrained(folder)
    zeros = {name: torch.zeros(tensor.shape, dtype=torch.float16) for name, tensor in state.items()}
    save_file(zeros, folder / "model.safetensors", {"format": "pt"})


def style(width: int) -> Style:
    """One of no picture: random numbers as wide as what the encoder sees."""
    generator = Generator().manual_seed(SEED)
    return Style(torch.randn(1, width, generator=generator), torch.zeros(width))


def bound_file(unet: Any, folder: Path) -> Kept:
    """Our style file, bound: neither adapter nor encoder."""
    ink = Style.load(folder / STYLE)
    bound = in_halves(IPAdapter(None, unet).bind(StyleConditioning(ink)))
    return (ink, bound), tensors_of(bound)


def bound_here(unet: Any, folder: Path) -> Kept:
    """Bound by the adapter, which stays, with nothing of its weights; the picture was seen elsewhere."""
    adapter, ink = IPAdapter(IPAdapterCheckpoint.open(folder / ADAPTER), unet), style(embedding_dim(unet))
    bound = in_halves(adapter.bind(StyleConditioning(ink)))
    return (adapter, ink, bound), tensors_of(bound)


def in_halves(bound: Bound) -> Bound:
    """As layers keep them that draw in float16."""
    return {
        name: tuple(keys.to(torch.empty(0, dtype=torch.float16)) for keys in styles)
        for name, styles in bound.items()
    }


def tensors_of(bound: Bound) -> list[Tensor]:
    return [tensor for styles in bound.values() for keys in styles for tensor in (keys.key, keys.value)]


class SeeingGuest(Guest):
    """Asks diffusers' loading for the image encoder as well, and keeps it."""

    dtype, device, image_encoder = torch.float16, torch.device("cpu"), None

    def register_modules(self, **modules: Any) -> None:
        vars(self).update(modules)


def by_diffusers(unet: Any, folder: Path) -> Kept:
    """diffusers' own path: `load_ip_adapter`, with the image encoder."""
    pipe, found = SeeingGuest(unet), {id(weight) for weight in unet.parameters()}
    lean = {"low_cpu_mem_usage": is_accelerate_available(), "image_encoder_folder": ENCODER}
    pipe.load_ip_adapter(str(folder), subfolder="", weight_name=ADAPTER, **lean)
    added = [weight for weight in unet.parameters() if id(weight) not in found]
    return pipe, [*added, *pipe.image_encoder.parameters()]


ARMS: dict[str, Callable[[Any, Path], Kept]] = {
    "our bound style file": bound_file,
    "ours, bound by the adapter": bound_here,
    "diffusers, adapter and encoder": by_diffusers,
}


@torch.no_grad()
def touch(tensors: Iterable[Tensor]) -> None:
    """A file that is only mapped becomes resident when it is read."""
    for tensor in tensors:
        tensor.amax()


def resident_bytes() -> int:
    """Of this process, now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def hand_back() -> None:
    """Memory that nobody holds, to the system; only glibc keeps it until it is asked."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def measured(arm: str, folder: Path, size: str) -> dict[str, int]:
    """In this process: resident bytes that the arm adds, those of them that somebody holds, and the bytes of
    the tensors that it names.
    """
    make = ARMS[arm]
    touch(make(network("tiny"), folder / "tiny")[1])
    unet = network(size)
    hand_back()
    before = resident_bytes()
    kept, tensors = make(unet, folder / size)
    touch(tensors)
    gc.collect()
    after = resident_bytes()
    hand_back()
    held = resident_bytes()
    assert kept
    read = sum(tensor.nbytes for tensor in tensors)
    return {"resident_bytes": after - before, "held_bytes": held - before, "tensor_bytes": read}


def in_fresh_process(arm: str, folder: Path, size: str) -> dict[str, int]:
    words = [sys.executable, "-m", "benchmarks.resident", "--arm", arm, "--folder", str(folder)]
    done = subprocess.run([*words, "--size", size], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def results_of(size: str, rounds: int) -> dict[str, Any]:
    """Of each arm the median of its rounds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for wanted in {"tiny", size}:
            write_files(folder / wanted, wanted)
        told = {arm: [in_fresh_process(arm, folder, size) for _ in range(rounds)] for arm in ARMS}
        files = {path.name: path.stat().st_size for path in (folder / size).iterdir() if path.is_file()}
    arms = {arm: {key: median(one[key] for one in runs) for key in runs[0]} for arm, runs in told.items()}
    return {"arms": arms, "file_bytes": files}


def _options() -> argparse.ArgumentParser:
    options = parser((__doc__ or "").splitlines()[0], rounds=3)
    options.add_argument("--size", choices=SIZES, default="full")
    options.add_argument("--arm", choices=ARMS, help="this one only, in this process; needs --folder")
    options.add_argument("--folder", type=Path, help="of the files that the arm loads")
    return options


def main() -> None:
    args = _options().parse_args()
    arm, folder = args.arm, args.folder
    if arm:
        print(json.dumps(measured(arm, folder, args.size)))
        return
    del args.arm, args.folder
    report((__doc__ or "").splitlines()[0], args, results_of(args.size, args.rounds))


if __name__ == "__main__":
    main()
