"""bfloat16 where it is faster than float32."""

from contextlib import AbstractContextManager

import torch

from instantstyle.models.default_dtype import fastest_cpu_dtype


def autocast_if_faster() -> AbstractContextManager[object]:
    """Return a context in which networks compute in bfloat16 if that is faster here; weights stay float32."""
    device_type = torch.get_default_device().type
    enabled = device_type == "cuda" or fastest_cpu_dtype() == torch.bfloat16
    # A recorded CUDA graph has to cast the weights at every replay, so their casts must not be cached.
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=device_type != "cuda")
