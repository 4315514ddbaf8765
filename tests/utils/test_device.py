"""The choice of a device."""

import pytest
import torch

from instantstyle import JobError
from instantstyle.utils.device import pick_device


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_the_fastest_device_is_the_default(two_gpus):
    assert pick_device(None) == "cuda"


def test_an_existing_device_is_returned(two_gpus):
    assert [pick_device(name) for name in ("cpu", "cuda:1")] == ["cpu", "cuda:1"]


def test_a_missing_device_is_rejected_with_those_that_exist(two_gpus):
    with pytest.raises(JobError, match=r"no device cuda:2 .*; there is cuda, cuda:0, cuda:1, cpu\."):
        pick_device("cuda:2")
