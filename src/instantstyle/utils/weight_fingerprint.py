"""What tells one set of weights from another, in whatever dtype they are kept."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor


def weight_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits of names, shapes and signs: rounding to halves turns no number's sign."""
    told = sha256()
    for name, tensor in sorted(tensors.items()):
        signs = torch.signbit(tensor.detach()).cpu().numpy()
        told.update(f"{name} {list(tensor.shape)} ".encode())
        told.update(np.packbits(signs).tobytes())
    return told.hexdigest()[:16]
