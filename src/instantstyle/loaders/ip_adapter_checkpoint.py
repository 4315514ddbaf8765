"""An IP-Adapter's file: what it is, found from its tensors, and only those read that are wanted.

Of SDXL's adapter the style block is small: with `blocks="style"` 126 MB of 703 are read, header and
projection included, 17.9 % (ViT-H: 17.4 %; Plus, whose projection is larger: 32 %).
tests/loaders/test_ip_adapter_checkpoint.py measures it on a file of the same layout.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..errors import CheckpointError
from ..unet.architectures import ARCHITECTURES, Architecture, of_adapter
from ..unet.blocks import Layer
from .projection_config import ProjectionConfig, detect_projection
from .state_dict import LazyStateDict, open_state_dict
from .unsupported_adapters import SUPPORTED, detect_unsupported

PARTS = ("image_proj", "ip_adapter")

_LAYER_TENSOR = re.compile(r"ip_adapter\.(\d{1,4})\.to_([kv])_ip\.weight")


class IPAdapterCheckpoint:
    """An IP-Adapter's weights. Opening reads names and shapes; a tensor is read when asked for, and not kept.

    `kind` is the projection network: `base` (a pooled image embedding becomes a few tokens), `plus`
    (a resampler on patch features) or `full` (a token for each patch feature).
    """

    def __init__(self, shelf: LazyStateDict, name: str) -> None:
        self.name = name
        self._shelf = shelf
        self._read: dict[str, None] = {}
        self._refuse_foreign()
        self._projection = self._projection_found()

    @classmethod
    def open(cls, source: Any) -> "IPAdapterCheckpoint":
        """`source`: a path to .safetensors or .bin, or a state dict `{"image_proj": …, "ip_adapter": …}`."""
        if isinstance(source, cls):
            return source
        name = "the state dict" if isinstance(source, Mapping) else Path(source).name
        return cls(open_state_dict(source), name)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape by its standard name."""
        return self._shelf.shapes

    @property
    def kind(self) -> str:
        return self._projection.kind

    @property
    def tokens(self) -> int | None:
        """How many image tokens it makes; None for `full`: as many as the encoder has patches."""
        return self._projection.tokens

    @property
    def cross_dim(self) -> int:
        """Width of the tokens that the projection makes; `check` holds every layer against it."""
        return self._projection.cross_dim

    @property
    def embedding_dim(self) -> int:
        """Width of what the projection reads."""
        return self._projection.dim

    @property
    def base(self) -> Architecture | None:
        """The family of networks that it was made for, by its layers; None for none that we know."""
        widths = {number: shape[0] for number, shape in self._layers().items()}
        return of_adapter(widths, self.cross_dim)

    @property
    def tensors_read(self) -> tuple[str, ...]:
        """Names of the tensors that have been read so far, each once."""
        return tuple(self._read)

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read so far: its header, and those tensors."""
        return self._shelf.header_bytes + sum(self._shelf.sizes[name] for name in self._read)

    def size_of(self, numbers: Sequence[int]) -> int:
        """Bytes of the projection and of these layers, of which nothing is read."""
        names = [*self._part("image_proj"), *(name for number in numbers for name in layer_names(number))]
        return sum(self._shelf.sizes.get(name, 0) for name in names)

    def read_projection(self) -> dict[str, Tensor]:
        """The projection network's weights, named as in the file without `image_proj.`."""
        return {name.partition(".")[2]: self._tensor(name) for name in self._part("image_proj")}

    def read_layer(
        self, number: int
    ) -> tuple[Float[Tensor, "width cross_dim"], Float[Tensor, "width cross_dim"]]:
        """The weights that make keys and values for the layer of this number."""
        key, value = layer_names(number)
        return self._tensor(key), self._tensor(value)

    def read_all(self) -> dict[str, Tensor]:
        """Every tensor of the adapter by its standard name; `CheckpointError` if some are none of ours."""
        if not self._shelf.numbered and self.base is None:
            raise CheckpointError(
                f"{self.name} names its layers by module path, and they are not those of any network known "
                f"here ({', '.join(family.title for family in ARCHITECTURES)}), so that they cannot be "
                "numbered; use the file as it is, with its network."
            )
        faults = self._strange()
        if faults:
            raise CheckpointError(f"{self.name} is no whole adapter: {'; '.join(faults)}.")
        return {name: self._tensor(name) for part in PARTS for name in self._part(part)}

    def check(self, layers: Sequence[Layer]) -> None:
        """Refuse, with every fault listed, unless there are keys and values for exactly these layers.

        From here on a file that names its layers by module path goes by these layers' numbers.
        """
        self._shelf.number({layer.name.removesuffix(".processor"): layer.number for layer in layers})
        self._read.clear()
        faults = self._misfit(layers) or self._faults(layers)
        if faults:
            raise CheckpointError(f"{self.name} does not fit this network: {'; '.join(faults)}.")

    def _misfit(self, layers: Sequence[Layer]) -> list[str]:
        """An adapter of another base: one line instead of a hundred misshapen tensors."""
        theirs = sorted({layer.cross_dim for layer in layers})
        if self.cross_dim in theirs:
            return []
        wanted = " or ".join(_of_family(dim) for dim in theirs)
        return [f"it was made for cross dim {_of_family(self.cross_dim)}; the network has {wanted}"]

    def _faults(self, layers: Sequence[Layer]) -> list[str]:
        expected = {
            name: (layer.width, layer.cross_dim) for layer in layers for name in layer_names(layer.number)
        }
        found = {name: self.shapes[name] for name in self._part("ip_adapter")}
        missing = [
            f"missing {name}, expected {list(shape)}" for name, shape in expected.items() if name not in found
        ]
        misshapen = [
            f"{name} is {list(found[name])}, expected {list(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ]
        return missing + misshapen + [f"extra {name}" for name in found if name not in expected]

    def _strange(self) -> list[str]:
        """What no network could take: half a layer, or a tensor that is no layer's."""
        layers = self._layers()
        names = [name for number in layers for name in layer_names(number)]
        missing = [f"missing {name}" for name in names if name not in self.shapes]
        return missing + [f"extra {name}" for name in self._part("ip_adapter") if name not in names]

    def _layers(self) -> dict[int, tuple[int, ...]]:
        """Shapes of the layers' weights by number, in order; tensors of other ranks are none."""
        flat = {name: shape for name, shape in self.shapes.items() if len(shape) == 2}
        found = [(match, flat[name]) for name in flat if (match := _LAYER_TENSOR.fullmatch(name))]
        return dict(sorted((int(match[1]), shape) for match, shape in found))

    def _part(self, part: str) -> list[str]:
        return [name for name in self.shapes if name.startswith(f"{part}.")]

    def _tensor(self, name: str) -> Tensor:
        """Noted and handed out: what is kept of an adapter is what was made with it, which is small."""
        tensor = self._shelf.read(name)
        self._read[name] = None
        return tensor

    def _refuse_foreign(self) -> None:
        family = detect_unsupported(self.shapes)
        if family:
            raise CheckpointError(f"{self.name} is {family}; {SUPPORTED}.")
        absent = [part for part in PARTS if not self._part(part)]
        if absent:
            has = ", ".join(sorted({name.split(".")[0] for name in self.shapes})) or "nothing"
            raise CheckpointError(
                f"{self.name} is no IP-Adapter: no {' and no '.join(absent)} tensors in it; it has {has}."
            )

    def _projection_found(self) -> ProjectionConfig:
        shapes = {name.partition(".")[2]: self.shapes[name] for name in self._part("image_proj")}
        return detect_projection(shapes, self.name)


def layer_names(number: int) -> tuple[str, str]:
    """The standard names of a layer's two tensors."""
    return f"ip_adapter.{number}.to_k_ip.weight", f"ip_adapter.{number}.to_v_ip.weight"


def _of_family(cross_dim: int) -> str:
    """'768 (Stable Diffusion 1.5)', or the bare number."""
    titles = [family.title for family in ARCHITECTURES if family.cross_dim == cross_dim]
    return f"{cross_dim} ({titles[0]})" if titles else str(cross_dim)
