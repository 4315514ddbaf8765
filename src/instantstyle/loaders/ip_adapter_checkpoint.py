"""IP-Adapter checkpoints. Type, sizes and UNet family are derived from the tensors, which are read lazily.

In SDXL's adapter the layers of the style block are small: `blocks="style"` reads 126 MB of 703, including the
header and the projection, 17.9 % (ViT-H: 17.4 %; Plus, whose projection is larger: 32 %).
tests/loaders/test_ip_adapter_checkpoint.py measures it with a file of the same layout.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..architectures import ARCHITECTURES, match_adapter_architecture
from ..errors import CheckpointError
from ..recipe_types import Reference
from ..unet.architectures import AdapterInput, Architecture
from ..unet.blocks import Layer
from .projection_config import EMBEDDING_TYPES, ProjectionType, detect_projection
from .state_dict import LazyStateDict, StateDictSource, open_state_dict
from .unsupported_adapters import SUPPORTED, detect_unsupported

PARTS = ("image_proj", "ip_adapter")
"""Prefixes of the standard names: the projection, and the keys and values of the cross-attention layers."""

TIMED_NAMES = (
    *("norm_ip.linear.weight", "norm_ip.linear.bias", "to_k_ip.weight", "to_v_ip.weight"),
    *("norm_q.weight", "norm_k.weight", "norm_ip_k.weight"),
)
"""Tensors of a layer whose keys and values change with the timestep (InstantX/SD3.5-Large-IP-Adapter)."""

_LAYER_TENSOR = re.compile(r"ip_adapter\.(\d{1,4})\.to_([kv])_ip\.weight")


class IPAdapterCheckpoint:
    """The weights of an IP-Adapter (arXiv 2308.06721).

    Names and shapes are read when a checkpoint is opened, a tensor on each request. Tensors are not cached.

    Args:
        state_dict: The tensors.
        name: Name of the file in error messages.

    Raises:
        CheckpointError: The tensors are not an IP-Adapter or no floating-point numbers, belong to an unsupported
            family, or have an invalid projection.
    """

    def __init__(self, state_dict: LazyStateDict, name: str) -> None:
        self.name = name
        self.file: Reference | None = None
        """Entry of a recipe for the file that was named; None for one of the registry, and for tensors in memory."""
        self._state_dict = state_dict
        # A dict as an ordered set.
        self._names_read: dict[str, None] = {}
        if family := detect_unsupported(self.shapes):
            raise CheckpointError(f"{name} is {family}; {SUPPORTED}.")
        absent = [part for part in PARTS if not self._names_in(part)]
        if absent:
            has = ", ".join(sorted({name.split(".")[0] for name in self.shapes})) or "nothing"
            raise CheckpointError(
                f"{name} is not an IP-Adapter: it has no {' and no '.join(absent)} tensors; it has {has}."
            )
        state_dict.check_floating([name for part in PARTS for name in self._names_in(part)], name)
        shapes = {name.partition(".")[2]: self.shapes[name] for name in self._names_in("image_proj")}
        self.projection = detect_projection(shapes, name)
        """Type and sizes of the projection network."""
        self.projection_type: ProjectionType = self.projection.type
        """Type of the projection network: `base`, `mlp`, `plus`, `full` or `timed`."""
        self.embedding_dim: int = self.projection.dim
        """Width of the image embedding or the patch features that the projection reads."""

    @classmethod
    def open(cls, source: "StateDictSource | IPAdapterCheckpoint") -> "IPAdapterCheckpoint":
        """Open a checkpoint.

        Args:
            source: A .safetensors or .bin file in any layout of `key_mapping`, a state dict
                `{"image_proj": …, "ip_adapter": …}`, or a checkpoint, which is returned unchanged.

        Raises:
            CheckpointError: The file cannot be read, or is not an IP-Adapter of a supported family.
        """
        if isinstance(source, IPAdapterCheckpoint):
            return source
        name = "the state dict" if isinstance(source, Mapping) else Path(source).name
        return cls(open_state_dict(source), name)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each tensor by standard name. `validate_layers` may change the names."""
        return self._state_dict.shapes

    @property
    def tokens(self) -> int | None:
        """Number of image tokens of one image; None for `full`, which computes one for each patch."""
        return self.projection.tokens

    @property
    def cross_dim(self) -> int:
        """Width of the image tokens."""
        return self.projection.cross_dim

    @property
    def architecture(self) -> Architecture | None:
        """The UNet family that the adapter was trained for, by its layers; None if it is not a known one."""
        widths = {number: shape[0] for number, shape in self._layer_shapes().items()}
        return match_adapter_architecture(widths, self.cross_dim, self._read_by_projection)

    @property
    def has_biases(self) -> bool:
        """Whether keys and values have biases, as in XLabs' adapters for FLUX.1."""
        return any(name.endswith("_ip.bias") for name in self._names_in("ip_adapter"))

    @property
    def reads_embedding(self) -> bool:
        """Whether it reads the pooled embedding of an image, with which words share a space, or patch features."""
        return self.projection_type in EMBEDDING_TYPES

    @property
    def reaches_all_blocks(self) -> bool:
        """Whether it has layers in all blocks of a diffusion transformer, as InstantX's for FLUX.1."""
        return self.projection_type == "mlp"

    @property
    def is_timed(self) -> bool:
        """Whether keys and values change with the timestep, as in InstantX's for SD3.5."""
        return self.projection_type == "timed"

    @property
    def tensors_read(self) -> tuple[str, ...]:
        """Standard names of the tensors that have been read so far, each once."""
        return tuple(self._names_read)

    @property
    def bytes_read(self) -> int:
        """Number of bytes of the header and of the tensors that have been read so far."""
        return self._state_dict.header_bytes + sum(self._state_dict.sizes[name] for name in self._names_read)

    def size_of(self, numbers: Iterable[int]) -> int:
        """Add up the bytes of the projection and of some layers, without reading them.

        Args:
            numbers: Layer numbers; unknown ones count 0 bytes.
        """
        layers = self.list_layer_tensors(numbers)
        return sum(self._state_dict.sizes.get(name, 0) for name in [*self._names_in("image_proj"), *layers])

    def list_layer_tensors(self, numbers: Iterable[int]) -> list[str]:
        """List the standard names of the keys and values of some layers, with their biases if they have any."""
        return list_layer_tensors(numbers, self.has_biases, self.is_timed)

    def read_projection(self) -> dict[str, Tensor]:
        """Read the weights of the projection network.

        Returns:
            Tensors by standard name without `image_proj.`, in the dtypes of the file.

        Raises:
            CheckpointError: The file can no longer be read.
        """
        return {name.partition(".")[2]: self._read(name) for name in self._names_in("image_proj")}

    def read_layer(self, number: int) -> tuple[Float[Tensor, "width cross_dim"], Float[Tensor, "width cross_dim"]]:
        """Read the key and value matrices of a cross-attention layer.

        Args:
            number: The layer's number, which `validate_layers` has found in the file.

        Returns:
            `to_k_ip` and `to_v_ip`, in the dtypes of the file.

        Raises:
            CheckpointError: The file can no longer be read.
        """
        key, value = layer_tensor_names(number)
        return self._read(key), self._read(value)

    def read_timed_layer(self, number: int) -> dict[str, Tensor]:
        """Read all weights of a layer whose keys and values change with the timestep.

        Args:
            number: As in `read_layer`.

        Returns:
            By the names of `TIMED_NAMES`.

        Raises:
            CheckpointError: The file can no longer be read.
        """
        return {name: self._read(f"ip_adapter.{number}.{name}") for name in TIMED_NAMES}

    def read_biases(self, number: int) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]] | None:
        """Read the biases of a layer's keys and values.

        Args:
            number: As in `read_layer`.

        Returns:
            Those of `to_k_ip` and `to_v_ip`; None where they have none, as in adapters for UNets.

        Raises:
            CheckpointError: The file can no longer be read.
        """
        names = layer_tensor_names(number, "bias")
        if not all(name in self.shapes for name in names):
            return None
        key, value = names
        return self._read(key), self._read(value)

    def read_all(self) -> dict[str, Tensor]:
        """Read all tensors.

        Returns:
            Tensors by standard name, in the dtypes of the file.

        Raises:
            CheckpointError: Layers are incomplete, there are unexpected tensors, or the file names its layers
                by module path and they are not those of a known family, so that they cannot be numbered.
        """
        if not self._state_dict.has_layer_numbers and self.architecture is None:
            known = ", ".join(family.title for family in ARCHITECTURES)
            raise CheckpointError(
                f"{self.name} names its layers by module path, and they cannot be numbered because they are "
                f"not those of a known network ({known}); use the file with its own network, unconverted."
            )
        layers = self.list_layer_tensors(self._layer_shapes())
        problems = [f"missing {name}" for name in layers if name not in self.shapes]
        problems += [f"unexpected {name}" for name in self._names_in("ip_adapter") if name not in layers]
        if problems:
            raise CheckpointError(f"{self.name} is not a complete adapter: {'; '.join(problems)}.")
        return {name: self._read(name) for part in PARTS for name in self._names_in(part)}

    def validate_layers(self, layers: Sequence[Layer]) -> None:
        """Check that the file has keys and values for exactly the layers of a network.

        If the file names its layers by module path, they have the numbers of these layers from here on. The
        record of the tensors read starts again.

        Args:
            layers: The network's cross-attention layers.

        Raises:
            CheckpointError: The adapter was trained for another `cross_dim`, or tensors are missing,
                unexpected or misshapen. The message lists all of them.
        """
        numbers = {layer.name.removesuffix(".processor"): layer.number for layer in layers}
        self._state_dict.assign_layer_numbers(numbers)
        self._names_read.clear()
        dims = sorted({layer.cross_dim for layer in layers})
        if not layers:
            lacks = (
                "blocks with one stream, which this adapter reaches" if self.reaches_all_blocks else "layers for it"
            )
            problems = [f"it has no {lacks}; use an adapter that was trained for it"]
        elif self.cross_dim not in dims:
            # One line instead of a list of all tensors, which have other shapes throughout.
            wanted = " or ".join(_format_cross_dim(dim) for dim in dims)
            trained = _format_cross_dim(self.cross_dim, self.architecture)
            problems = [f"it was trained for cross dim {trained}; the network has {wanted}"]
        elif self.is_timed != layers[0].is_timed:
            here, there = "are the same at all steps", "change with the step, as SD3.5's"
            here, there = (here, there) if self.is_timed else (there, here)
            problems = [
                f"the adapter's keys and values {there}, the network's {here}; use an adapter that was trained for it"
            ]
        else:
            problems = self._compare_layers(layers)
        if problems:
            raise CheckpointError(f"{self.name} does not fit this network: {'; '.join(problems)}.")

    def validate_family(self, architecture: Architecture) -> None:
        """Check that the adapter was not published for another family, whose layers are the same.

        Args:
            architecture: The network's family.

        Raises:
            CheckpointError: It was. The message names both families.
        """
        read = self._read_by_projection
        others = [family for family in ARCHITECTURES if read in family.adapter_inputs]
        if not others or not architecture.adapter_inputs or read in architecture.adapter_inputs:
            return
        features = "image embeddings" if self.reads_embedding else "patch features"
        raise CheckpointError(
            f"{self.name} does not fit this network: it was trained for {others[0].title} ({self.projection_type}, "
            f"{features} of width {self.embedding_dim}); the network is {architecture.title}. Use an adapter for "
            f"{architecture.title}."
        )

    @property
    def _read_by_projection(self) -> AdapterInput:
        return self.projection_type, self.embedding_dim, self.projection.inner

    def _compare_layers(self, layers: Sequence[Layer]) -> list[str]:
        """List missing, misshapen and unexpected layer tensors."""
        expected: dict[str, tuple[int, ...]] = {
            name: (layer.width, layer.cross_dim) for layer in layers for name in layer_tensor_names(layer.number)
        }
        for layer in layers:
            if layer.is_timed:
                expected |= self._timed_shapes(layer)
        with_bias = [layer for layer in layers if layer.has_bias]
        expected |= {name: (layer.width,) for layer in with_bias for name in layer_tensor_names(layer.number, "bias")}
        found = {name: self.shapes[name] for name in self._names_in("ip_adapter")}
        missing = [f"missing {name}, expected {list(shape)}" for name, shape in expected.items() if name not in found]
        misshapen = [
            f"{name} is {list(found[name])}, expected {list(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ]
        return missing + misshapen + [f"unexpected {name}" for name in found if name not in expected]

    def _timed_shapes(self, layer: Layer) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a layer whose keys and values change with the timestep; heads are as wide as norms."""
        name, inner = f"ip_adapter.{layer.number}", self.projection.inner or 0
        # The width of heads is read from the file, of any layer that has it.
        norms = (f"{name}.norm_ip_k.weight", *self._names_in("ip_adapter"))
        head = next(
            (self.shapes[norm] for norm in norms if norm.endswith("norm_ip_k.weight") and norm in self.shapes), (0,)
        )
        changed = 2 * layer.cross_dim
        return {
            f"{name}.norm_ip.linear.weight": (changed, inner),
            f"{name}.norm_ip.linear.bias": (changed,),
            **{f"{name}.{norm}.weight": head for norm in ("norm_q", "norm_k", "norm_ip_k")},
        }

    def _layer_shapes(self) -> dict[int, tuple[int, ...]]:
        """Shape of the matrices of each layer by its number, in ascending order."""
        matches = [(_LAYER_TENSOR.fullmatch(name), shape) for name, shape in self.shapes.items()]
        return dict(sorted((int(match[1]), shape) for match, shape in matches if match and len(shape) == 2))

    def _names_in(self, part: str) -> list[str]:
        return [name for name in self.shapes if name.startswith(f"{part}.")]

    def _read(self, name: str) -> Tensor:
        tensor = self._state_dict.read(name)
        self._names_read[name] = None
        return tensor


def layer_tensor_names(number: int, end: Literal["weight", "bias"] = "weight") -> tuple[str, str]:
    """Return the standard names of the key and value matrices of a layer, or of their biases."""
    return f"ip_adapter.{number}.to_k_ip.{end}", f"ip_adapter.{number}.to_v_ip.{end}"


def list_layer_tensors(numbers: Iterable[int], has_biases: bool, is_timed: bool = False) -> list[str]:
    """List the standard names of the tensors of some layers.

    Args:
        numbers: The layers.
        has_biases: Whether keys and values have biases.
        is_timed: Whether keys and values change with the timestep.
    """
    if is_timed:
        return [f"ip_adapter.{number}.{name}" for number in numbers for name in TIMED_NAMES]
    ends: tuple[Literal["weight", "bias"], ...] = ("weight", "bias") if has_biases else ("weight",)
    return [name for number in numbers for end in ends for name in layer_tensor_names(number, end)]


def _format_cross_dim(cross_dim: int, architecture: Architecture | None = None) -> str:
    """Format a width with the family that has it, if known the given one: `768 (Stable Diffusion 1.5)`."""
    if architecture is not None and architecture.cross_dim == cross_dim:
        return f"{cross_dim} ({architecture.title})"
    titles = [family.title for family in ARCHITECTURES if family.cross_dim == cross_dim]
    return f"{cross_dim} ({titles[0]})" if titles else str(cross_dim)
