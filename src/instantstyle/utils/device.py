"""The devices of this machine, and the device that a module computes on."""

from typing import TYPE_CHECKING, Any

from ..errors import JobError

if TYPE_CHECKING:
    import torch


def pick_device(requested: str | None) -> str:
    """Return the requested device, or the fastest one.

    Args:
        requested: `cuda`, `cuda:{number}`, `mps` or `cpu`. None selects the first of these that exists.

    Raises:
        JobError: The device does not exist on this machine. The message lists those that do.
    """
    # torch takes seconds to import.
    from torch import backends, cuda

    available = ["cpu"]
    if backends.mps.is_available():
        available.insert(0, "mps")
    if cuda.is_available():
        available = ["cuda", *(f"cuda:{number}" for number in range(cuda.device_count())), *available]
    if requested not in (None, *available):
        raise JobError(f"There is no device {requested} on this machine; there is {', '.join(available)}.")
    return requested or available[0]


def execution_device(module: Any) -> "torch.device":
    """Return the device that a module computes on: with offloading, its weights are elsewhere between calls.

    Args:
        module: A module of torch; accelerate's hooks (`_hf_hook`, as of model and sequential offloading) and those of
            diffusers' group offloading (`_diffusers_hook`) name its device.
    """
    from torch import device

    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        for each in (hook, *getattr(hook, "hooks", ())):
            if (found := getattr(each, "execution_device", None)) is not None:
                return device(found)
        registry = getattr(part, "_diffusers_hook", None)
        group = getattr(registry.get_hook("group_offloading"), "group", None) if registry is not None else None
        if group is not None:
            return device(group.onload_device)
    return module.device
