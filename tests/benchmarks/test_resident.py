"""The benchmark with every width divided by 16: every arm in its own process, end to end."""

from mmap import mmap
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.resident import ARMS, VIT_BIGG, measure_arms, resident_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return measure_arms("tiny", rounds=1)


def test_every_arm_has_the_bytes_that_it_keeps(results):
    assert list(results["arms"]) == list(ARMS)
    # 10 layers, keys and values, two halves, 4 tokens, 80 wide, 2 bytes.
    ours = 10 * 2 * 2 * 4 * 80 * 2
    assert results["arms"]["our bound style file"]["tensor_bytes"] == ours
    assert results["arms"]["ours, bound by the adapter"]["tensor_bytes"] == ours


def test_diffusers_keeps_adapter_and_encoder(results):
    theirs = results["arms"]["diffusers, adapter and encoder"]
    adapter = results["file_bytes"]["ip-adapter_sdxl.safetensors"]
    assert theirs["tensor_bytes"] > adapter
    assert theirs["resident_bytes"] > adapter


def test_resident_bytes_grow_with_written_memory_only():
    before = resident_bytes()
    # From the system: of an allocator they could be pages of freed memory, which are resident already.
    untouched = torch.frombuffer(mmap(-1, 50_000_000), dtype=torch.uint8)
    middle = resident_bytes()
    untouched.fill_(1)
    assert middle - before < 10_000_000
    assert resident_bytes() - middle > 40_000_000


def test_the_encoder_has_the_size_of_sdxls():
    with torch.device("meta"):
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_BIGG))
    # 3.7 GB in half precision.
    assert sum(weight.numel() for weight in encoder.parameters()) == pytest.approx(1_844.9e6, rel=1e-4)
