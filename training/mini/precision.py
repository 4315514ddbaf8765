"""bf16 where it is multiplied faster than float32."""

from contextlib import AbstractContextManager

import torch

from instantstyle.models.default_dtype import fastest_on_cpu


def quick() -> AbstractContextManager[None]:
    """A block whose networks compute in bf16, if that is quicker here; their weights stay float32."""
    on = torch.get_default_device().type
    quicker = on == "cuda" or fastest_on_cpu() == torch.bfloat16
    # What a GPU records must round its weights anew whenever it is replayed.
    return torch.autocast(on, dtype=torch.bfloat16, enabled=quicker, cache_enabled=on != "cuda")
