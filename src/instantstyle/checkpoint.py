"""An IP-Adapter's file: what it is, found from its tensors, and only those read that are wanted."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .architectures import ARCHITECTURES
from .blocks import Layer
from .errors import CheckpointError
from .shelf import Shelf, shelf

PARTS = ("image_proj", "ip_adapter")

_FOREIGN = {
    "ip_adapter.*lora*": "IP-Adapter-FaceID, which needs a face recogniser",
    "image_proj.perceiver_resampler.*": "IP-Adapter-FaceID-Plus, which needs a face recogniser",
    "image_proj.time_embedding.*": "an IP-Adapter for SD3.5, whose tokens depend on the time step",
    "*double_blocks.*": "an IP-Adapter for FLUX (XLabs)",
}
"""Families that are recognised by the name of a tensor and not supported."""

_SUPPORTED = "use a base, Plus or full adapter for SD1.5 or SDXL"

_MARKS = {
    "base": "image_proj.proj.weight",
    "full": "image_proj.proj.3.weight",
    "plus": "image_proj.latents",
}
"""The tensor that only this kind of projection has."""

_TWO_LAYERS = {"image_proj.proj.2.weight", "image_proj.norm.weight"}
"""Together they mean a perceptron with its norm outside: shaped like none of ours."""


class AdapterFile:
    """An IP-Adapter's weights. Opening reads names and shapes; a tensor is read when first asked for.

    `kind` is the projection network: `base` (a pooled image embedding becomes a few tokens), `plus`
    (a resampler on patch features) or `full` (a token for each patch feature).
    """

    def __init__(self, shelf: Shelf, name: str) -> None:
        self.name = name
        self.shapes = shelf.shapes
        self._shelf = shelf
        self._read: dict[str, Tensor] = {}
        self._refuse_foreign()
        self.kind = self._kind()
        self.cross_dim = self._cross_dim()
        self.tokens = self._tokens()
        self.embedding_dim = self._embedding_dim()

    @classmethod
    def open(cls, source: Any) -> "AdapterFile":
        """`source`: a path to .safetensors or .bin, or a state dict `{"image_proj": …, "ip_adapter": …}`."""
        name = "the state dict" if isinstance(source, Mapping) else Path(source).name
        return cls(shelf(source), name)

    @property
    def tensors_read(self) -> tuple[str, ...]:
        """Names of the tensors that have been read so far."""
        return tuple(self._read)

    def read_projection(self) -> dict[str, Tensor]:
        """The projection network's weights, named as in the file without `image_proj.`."""
        return {name.partition(".")[2]: self._tensor(name) for name in self._part("image_proj")}

    def read_layer(
        self, number: int
    ) -> tuple[Float[Tensor, "width cross_dim"], Float[Tensor, "width cross_dim"]]:
        """The weights that make keys and values for the layer of this number."""
        key, value = _layer_names(number)
        return self._tensor(key), self._tensor(value)

    def check(self, layers: Sequence[Layer]) -> None:
        """Refuse, with every fault listed, unless there are keys and values for exactly these layers."""
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
            name: (layer.width, layer.cross_dim) for layer in layers for name in _layer_names(layer.number)
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

    def _part(self, part: str) -> list[str]:
        return [name for name in self.shapes if name.startswith(f"{part}.")]

    def _tensor(self, name: str) -> Tensor:
        if name not in self._read:
            self._read[name] = self._shelf.read(name)
        return self._read[name]

    def _refuse_foreign(self) -> None:
        for pattern, family in _FOREIGN.items():
            if any(fnmatchcase(name, pattern) for name in self.shapes):
                raise CheckpointError(f"{self.name} is {family}; {_SUPPORTED}.")
        absent = [part for part in PARTS if not self._part(part)]
        if absent:
            has = ", ".join(sorted({name.split(".")[0] for name in self.shapes})) or "nothing"
            raise CheckpointError(
                f"{self.name} is no IP-Adapter: no {' and no '.join(absent)} tensors in it; it has {has}."
            )

    def _kind(self) -> str:
        names = set(self._part("image_proj"))
        if names >= _TWO_LAYERS:
            raise CheckpointError(
                f"{self.name} projects through two layers, as FaceID and FLUX (InstantX) do; {_SUPPORTED}."
            )
        kinds = [kind for kind, mark in _MARKS.items() if mark in names]
        if len(kinds) != 1:
            raise CheckpointError(
                f"{self.name}: expected exactly one of {', '.join(_MARKS.values())} to tell its kind by; "
                f"found {', '.join(sorted(names))}."
            )
        self._refuse_incomplete(kinds[0], names)
        return kinds[0]

    def _refuse_incomplete(self, kind: str, names: set[str]) -> None:
        missing = sorted(_projection_names(kind, names) - names)
        if missing:
            raise CheckpointError(f"{self.name} lacks parts of its projection: {', '.join(missing)}.")

    def _cross_dim(self) -> int:
        """Width of the tokens that the projection makes; `check` holds every layer against it."""
        norm = {"base": "norm", "full": "proj.3", "plus": "norm_out"}[self.kind]
        return self.shapes[f"image_proj.{norm}.weight"][0]

    def _tokens(self) -> int | None:
        """None for `full`: as many as the encoder has patches."""
        if self.kind == "base":
            return self.shapes["image_proj.proj.weight"][0] // self.cross_dim
        return self.shapes["image_proj.latents"][1] if self.kind == "plus" else None

    def _embedding_dim(self) -> int:
        entrance = {"base": "proj.weight", "full": "proj.0.weight", "plus": "proj_in.weight"}[self.kind]
        return self.shapes[f"image_proj.{entrance}"][1]


def _layer_names(number: int) -> tuple[str, str]:
    return f"ip_adapter.{number}.to_k_ip.weight", f"ip_adapter.{number}.to_v_ip.weight"


def _of_family(cross_dim: int) -> str:
    """'768 (Stable Diffusion 1.5)', or the bare number."""
    titles = [family.title for family in ARCHITECTURES if family.cross_dim == cross_dim]
    return f"{cross_dim} ({titles[0]})" if titles else str(cross_dim)


def _projection_names(kind: str, names: Iterable[str]) -> set[str]:
    """All tensors of a projection; a resampler has as many layers as its names count up to."""
    stems = {
        "base": ("proj.weight", "proj.bias", "norm.weight", "norm.bias"),
        "full": tuple(f"proj.{i}.{end}" for i in (0, 2, 3) for end in ("weight", "bias")),
        "plus": (
            "latents",
            *(f"{n}.{end}" for n in ("proj_in", "proj_out", "norm_out") for end in ("weight", "bias")),
        ),
    }[kind]
    depths = {name.split(".")[2] for name in names if name.startswith("image_proj.layers.")}
    layers = {f"layers.{depth}.{end}" for depth in depths for end in _RESAMPLER_LAYER}
    return {f"image_proj.{stem}" for stem in {*stems, *layers}}


_RESAMPLER_LAYER = (
    *(f"0.{norm}.{end}" for norm in ("norm1", "norm2") for end in ("weight", "bias")),
    *(f"0.{linear}.weight" for linear in ("to_q", "to_kv", "to_out")),
    *("1.0.weight", "1.0.bias", "1.1.weight", "1.3.weight"),
)
