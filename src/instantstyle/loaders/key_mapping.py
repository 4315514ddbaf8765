"""Names of an adapter's tensors: from those in files to the standard names of the released checkpoints.

The standard names are those of github.com/tencent-ailab/IP-Adapter: `image_proj.…` for the projection and
`ip_adapter.{number}.to_k_ip.weight`, `ip_adapter.{number}.to_v_ip.weight` for a cross-attention layer, where
`number` is the position of the layer's processor in `unet.attn_processors`. Files name them in other ways:

- `image_proj_model.…` and `adapter_modules.{number}.…`, written by the training scripts of that repository,
  together with the tensors of the network (`unet.…`);
- `….attn2.processor.to_k_ip.weight`, by module path, if the adapter is saved as a part of its network;
- `….attn2.processor.to_k_ip.0.weight`, the same in diffusers, which numbers the adapters of one processor;
- any of these after `module.`, the prefix of `DistributedDataParallel`;
- `ip_adapter_proj_model.…` and `double_blocks.{number}.processor.ip_adapter_double_stream_k_proj.…`, in the files of
  XLabs for FLUX.1, whose keys and values have a bias: `ip_adapter.{number}.to_k_ip.bias`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from ..architectures import ARCHITECTURES
from ..errors import CheckpointError
from ..unet.blocks import Block
from ..utils.text import one_line

_PREFIX = r"(?:module\.)?(?:unet\.)?"

_PARTS = {
    "image_proj": re.compile(rf"{_PREFIX}(?:image_proj|image_proj_model|ip_adapter_proj_model)\.(.+)"),
    "ip_adapter": re.compile(rf"{_PREFIX}(?:ip_adapter|adapter_modules)\.(.+)"),
}

_MODULE_PATH = re.compile(rf"{_PREFIX}(.+\.attn2)(?:\.processor)?\.(to_[kv]_ip)(?:\.0)?\.weight")

_DOUBLE_BLOCK = re.compile(
    r"double_blocks\.([0-9]{1,4})\.processor\.ip_adapter_double_stream_([kv])_proj\.(weight|bias)"
)

_SINGLE_BLOCK = re.compile(r"single_blocks\.[0-9]{1,4}\.processor\.ip_adapter_.+")

_NETWORK_PREFIX = re.compile(r"(?:module\.)?unet\.")


def map_standard_names(names: Iterable[str], numbers: Mapping[str, int] | None = None) -> dict[str, str]:
    """Map the standard names of an adapter's tensors to their names in a file.

    A dump of a whole training module contains the network, and each adapter layer both by number and by
    module path. The network's tensors are left out, and module paths are used only if there are no numbers.

    Args:
        names: Names in the file.
        numbers: Layer numbers of the network by module path. None uses those of `number_layers`.

    Returns:
        Names in the file by standard name. A layer that `numbers` does not contain keeps its module path
        (`ip_adapter.{path}.to_k_ip.weight`), and a name of another form is its own standard name, so that
        the check of the checkpoint can report both.

    Raises:
        CheckpointError: Two tensors have the same standard name.
    """
    names = list(names)
    standard: dict[str, str] = {}
    for name in names:
        for part, pattern in _PARTS.items():
            if match := pattern.fullmatch(name):
                standard[name] = f"{part}.{match[1]}"
                break
        if match := _DOUBLE_BLOCK.fullmatch(name):
            standard[name] = f"ip_adapter.{match[1]}.to_{match[2]}_ip.{match[3]}"
        elif _SINGLE_BLOCK.fullmatch(name):
            # A layer that no network has keys for: the check of the checkpoint names it.
            standard[name] = f"ip_adapter.{name}"
    if not any(name.startswith("ip_adapter.") for name in standard.values()):
        paths = {name: match.groups() for name in names if (match := _MODULE_PATH.fullmatch(name))}
        if numbers is None:
            numbers = number_layers(path for path, _ in paths.values())
        for name, (path, matrix) in paths.items():
            standard[name] = f"ip_adapter.{numbers.get(path, path)}.{matrix}.weight"
    is_adapter = bool(standard)
    for name in names:
        if name not in standard and not (is_adapter and _belongs_to_network(name)):
            standard[name] = name

    stored: dict[str, str] = {}
    for name, target in standard.items():
        if target in stored:
            raise CheckpointError(
                f"Two tensors have the standard name {one_line(target, 200)}: {one_line(stored[target], 200)} and "
                f"{one_line(name, 200)}; remove one."
            )
        stored[target] = name
    return stored


def number_layers(paths: Iterable[str]) -> dict[str, int]:
    """Number cross-attention layers as adapters do: odd numbers in diffusers' order down, up, mid.

    Args:
        paths: Module paths of the layers (`….attn2`), possibly of a part of a network.

    Returns:
        Numbers by module path. Whole blocks of a known family have their numbers in that family, so that a
        partial file is numbered correctly; other layers are numbered by their positions among themselves.
    """
    paths = set(paths)
    blocks = {Block.from_layer_name(path) for path in paths}
    order = sorted(paths, key=_listing_key)
    for family in ARCHITECTURES:
        if paths == {path for path in family.layers if Block.from_layer_name(path) in blocks}:
            order = list(family.layers)
            break
    # A self-attention precedes each cross-attention and takes the even number.
    return {path: 2 * position + 1 for position, path in enumerate(order) if path in paths}


def has_module_paths(names: Iterable[str]) -> bool:
    """Whether layers are named by module path, so that the names do not contain the layer numbers."""
    return any(_MODULE_PATH.fullmatch(name) for name in names)


def _belongs_to_network(name: str) -> bool:
    return _NETWORK_PREFIX.match(name) is not None or Block.from_layer_name(name) is not None


def _listing_key(path: str) -> tuple[Sequence[int], Sequence[int]]:
    """Sort key for diffusers' order; paths outside of the transformer blocks are sorted by their length."""
    block = Block.from_layer_name(path)
    return block.listing_order if block else (len(path),), [int(n) for n in re.findall(r"[0-9]{1,9}", path)]
