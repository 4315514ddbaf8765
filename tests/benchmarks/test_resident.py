"""The benchmark at a sixteenth of each width: every arm in a process of its own, end to end."""

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.resident import ARMS, VIT_BIGG, resident_bytes, results_of


@pytest.fixture(scope="module")
def results():
    return results_of("tiny", rounds=1)


def test_every_arm_says_what_it_keeps(results):
    assert list(results["arms"]) == list(ARMS)
    # 10 layers, keys and values, two halves, 4 tokens, 80 wide, 2 bytes.
    ours = 10 * 2 * 2 * 4 * 80 * 2
    assert results["arms"]["our bound style file"]["tensor_bytes"] == ours
    assert results["arms"]["ours, bound by the adapter"]["tensor_bytes"] == ours


def test_diffusers_keeps_the_adapter_and_the_encoder(results):
    theirs = results["arms"]["diffusers, adapter and encoder"]
    adapter = results["file_bytes"]["ip-adapter_sdxl.safetensors"]
    assert theirs["tensor_bytes"] > adapter
    assert theirs["resident_bytes"] > adapter


def test_resident_bytes_grow_with_what_is_written_to():
    before = resident_bytes()
    untouched = torch.empty(50_000_000, dtype=torch.uint8)
    middle = resident_bytes()
    untouched.fill_(1)
    assert middle - before < 10_000_000
    assert resident_bytes() - middle > 40_000_000


def test_the_encoder_is_the_one_of_sdxls_adapter():
    with torch.device("meta"):
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_BIGG))
    # 3.7 GB in half precision.
    assert sum(weight.numel() for weight in encoder.parameters()) == pytest.approx(1_844.9e6, rel=1e-4)
