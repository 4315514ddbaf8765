"""Several processes that train one network, a core each: on small networks quicker than threads.

Each process draws its own pictures; their gradients' mean makes one step, the same in all.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def place() -> int:
    """This process's number, from 0; that one reports and writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(parts: Sequence[Tensor]) -> None:
    """Make each tensor the mean of what all processes have in its place."""
    if size() == 1:
        return
    flat = torch.cat([part.flatten() for part in parts])
    dist.all_reduce(flat)
    flat /= size()
    for part, mean in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
        part.copy_(mean.view_as(part))


def mean(number: float) -> float:
    """Of what all processes have."""
    if size() == 1:
        return number  # and a GPU's work is not waited for
    shared = torch.tensor([number])
    share([shared])
    return shared.item()


def together(processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Do `work` in so many processes at once; in this one if one is enough."""
    if processes == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as meeting:
        meeting_place = (Path(meeting) / "place").as_uri()
        torch.multiprocessing.spawn(_join, (processes, meeting_place, work, arguments), nprocs=processes)


def _join(number: int, processes: int, meeting_place: str, work: Callable[..., None], arguments: Any) -> None:
    # torch sends it when the parent dies; a shell may have had background processes ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cores = sorted(os.sched_getaffinity(0))
    own = cores[number::processes] or cores
    os.sched_setaffinity(0, own)
    torch.set_num_threads(len(own))
    dist.init_process_group("gloo", init_method=meeting_place, rank=number, world_size=processes)
    try:
        work(*arguments)
        # Whoever is done first must not hang up on one that still listens: that ends the other with an abort.
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # Not by Python's way out, where a thread of gloo's now and then aborts a process that has done its work.
    sys.stdout.flush()
    os._exit(0)
