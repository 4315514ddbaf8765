"""What people's scripts call an adapter's tensors, and what the released files call them."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import CheckpointError
from ..unet.architectures import ARCHITECTURES
from ..unet.blocks import Block

_WRAPPED = r"(?:module\.)?(?:unet\.)?"
"""What distributed training, and an adapter saved as a part of its network, put in front."""

_PARTS = {
    "image_proj": re.compile(rf"{_WRAPPED}(?:image_proj|image_proj_model)\.(.+)"),
    "ip_adapter": re.compile(rf"{_WRAPPED}(?:ip_adapter|adapter_modules)\.(.+)"),
}

# The last number is diffusers' own: it keeps several adapters in one processor.
_BY_PATH = re.compile(rf"{_WRAPPED}(.+\.attn2)(?:\.processor)?\.(to_[kv]_ip)(?:\.0)?\.weight")

_OF_THE_NETWORK = re.compile(r"(?:module\.)?unet\.")


def standard_names(names: Iterable[str], numbers: Mapping[str, int] | None = None) -> dict[str, str]:
    """Standard name → name in the file, for `image_proj.…` and `ip_adapter.{number}.…`.

    `numbers` are those of the network's layers by module path; None: those of `layer_numbers`.
    Training saves the network too, and each adapter layer twice, by number and by module path: the network
    is left out, and paths count only where there are no numbers.
    """
    names = list(names)
    parts = {name: standard for name in names if (standard := _in_parts(name))}
    if not any(standard.startswith("ip_adapter.") for standard in parts.values()):
        parts |= _by_path(names, numbers)
    rest = [name for name in names if name not in parts and not (parts and _belongs_to_network(name))]
    return _inverted({**parts, **{name: name for name in rest}})


def layer_numbers(paths: Iterable[str]) -> dict[str, int]:
    """The number of each cross-attention, given its module path: odd, in diffusers' order down, up, mid.

    Where they are whole blocks of a known family its table counts, so that a partial file is numbered
    right; otherwise their places among themselves.
    """
    paths = set(paths)
    for family in ARCHITECTURES:
        blocks = {Block.of(path) for path in paths}
        if paths == {path for path in family.layers if Block.of(path) in blocks}:
            return _numbered(list(family.layers), paths)
    return _numbered(sorted(paths, key=_listing), paths)


def by_path(names: Iterable[str]) -> bool:
    """Whether layers go by their module path: no number in the file says which is which."""
    return any(_BY_PATH.fullmatch(name) for name in names)


def _in_parts(name: str) -> str | None:
    for part, pattern in _PARTS.items():
        if found := pattern.fullmatch(name):
            return f"{part}.{found[1]}"
    return None


def _by_path(names: Sequence[str], known: Mapping[str, int] | None) -> dict[str, str]:
    found = {name: match.groups() for name in names if (match := _BY_PATH.fullmatch(name))}
    numbers = layer_numbers(path for path, _ in found.values()) if known is None else known
    # A layer that the network lacks keeps its path: whoever checks the file finds it, and can name it.
    return {
        name: f"ip_adapter.{numbers.get(path, path)}.{letter}.weight"
        for name, (path, letter) in found.items()
    }


def _belongs_to_network(name: str) -> bool:
    return _OF_THE_NETWORK.match(name) is not None or Block.of(name) is not None


def _numbered(order: Sequence[str], wanted: set[str]) -> dict[str, int]:
    # Odd: each cross-attention comes after a self-attention, which takes the even number.
    return {path: 2 * place + 1 for place, path in enumerate(order) if path in wanted}


def _listing(path: str) -> tuple[tuple[int, ...], list[int]]:
    block = Block.of(path)
    return block.listing if block else (len(path),), [int(number) for number in re.findall(r"\d+", path)]


def _inverted(standard: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, ours in standard.items():
        if ours in found:
            raise CheckpointError(f"Two tensors stand for {ours}: {found[ours]} and {name}; remove one.")
        found[ours] = name
    return found
