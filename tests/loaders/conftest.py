from pathlib import Path

import pytest
from safetensors.torch import save_file

from .test_ip_adapter_checkpoint import flat


@pytest.fixture
def saved(tmp_path: Path, state) -> Path:
    """A .safetensors file of the small adapter, with the standard names."""
    path = tmp_path / "ip-adapter.safetensors"
    save_file(flat(state), path)
    return path
