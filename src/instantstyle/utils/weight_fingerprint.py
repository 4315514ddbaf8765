"""Fingerprints that tell sets of weights apart, independent of the dtype in which they are stored."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor


def fingerprint_weights(tensors: Mapping[str, Tensor]) -> str:
    """Compute a fingerprint of weights from their names, shapes and signs.

    Only signs are used, because rounding to another dtype does not change them.

    Args:
        tensors: The weights by name, in any order.

    Returns:
        The first 16 hex digits of a SHA-256.
    """
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        signs = torch.signbit(tensor.detach()).cpu().numpy()
        digest.update(f"{name} {list(tensor.shape)} ".encode())
        digest.update(np.packbits(signs).tobytes())
    return digest.hexdigest()[:16]
