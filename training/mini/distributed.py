"""Data-parallel training on CPU cores: one process a core, which for small networks is faster than threads.

Each process samples its own images; the mean of the gradients makes one step, the same in all processes.
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
import torch.multiprocessing
from torch import Tensor


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number; process 0 reports and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def average_in_place(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all processes."""
    if world_size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def average_number(number: float) -> float:
    """Return the number's mean over all processes; with one process, without waiting for a GPU."""
    if world_size() == 1:
        return number
    shared = torch.tensor([number])
    average_in_place([shared])
    return shared.item()


def run_processes(processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run `work(*arguments)` in several processes that train together.

    Args:
        processes: Number of processes; 1 runs `work` in this process.
        work: Picklable function, called in every process.
        arguments: Picklable arguments of `work`.
    """
    if processes == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        init_method = (Path(folder) / "init").as_uri()
        torch.multiprocessing.spawn(_run_process, (processes, init_method, work, arguments), nprocs=processes)


def _run_process(number: int, processes: int, init_method: str, work: Callable[..., None], arguments: Any) -> None:
    # torch sends SIGINT when the parent dies; a shell may have set background processes to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cores = sorted(os.sched_getaffinity(0))
    own = cores[number::processes] or cores
    os.sched_setaffinity(0, own)
    torch.set_num_threads(len(own))
    dist.init_process_group("gloo", init_method=init_method, rank=number, world_size=processes)
    try:
        work(*arguments)
        # A process that closes its connections while another still waits for data aborts the other one.
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # Skip Python's shutdown: a thread of gloo occasionally aborts a process there that has finished its work.
    sys.stdout.flush()
    os._exit(0)
