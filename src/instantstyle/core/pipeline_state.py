"""What of a pipeline changes its images beside the arguments of a call, so that a recipe can name what it lacks.

A recipe names the model to load, and no changes of it: another scheduler, FreeU, LoRA, hooks, or a callback that
writes to the pipeline. They are found by comparing the pipeline with what it was when it was loaded.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import ref

from torch import Tensor, nn

from .pipeline_call import unwrap_compiled
from .processor_checks import is_plain_processor

FREEU = ("s1", "s2", "b1", "b2")
"""Attributes that `pipe.enable_freeu` sets on the blocks of a UNet."""

OFFLOADING = {"group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading"}
"""Hooks of diffusers that move weights and do not change what a module computes."""

Marks = Mapping[str, object]
"""Values to compare, by what a message calls a difference."""


class _Identity:
    """The identity of an object, which is not kept alive; equal only for the same object."""

    def __init__(self, value: object) -> None:
        try:
            self._reference: ref[Any] | None = ref(cast(Any, value))
            self._value = None
        except TypeError:  # numbers, texts, lists and None
            self._reference, self._value = None, value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Identity) or (self._reference is None) != (other._reference is None):
            return False
        if self._reference is None or other._reference is None:
            return self._value is other._value
        found = self._reference()
        return found is not None and found is other._reference()

    __hash__ = None  # pyright: ignore


@dataclass(frozen=True, eq=False)
class PipelineState:
    """The parts and settings of a pipeline at one time."""

    marks: Marks

    @classmethod
    def of(cls, pipe: object) -> "PipelineState":
        """Read the state of a pipeline; no tensor is read."""
        parts = {name: unwrap_compiled(part) for name, part in vars(pipe).items() if not name.startswith("_")}
        marks: dict[str, object] = {
            "the pipeline's config": _config(pipe, parts),
            "methods of the pipeline": _methods(pipe),
        }
        for name, part in parts.items():
            marks |= _mark_part(name, part)
        return cls(marks | _mark_unet(parts.get("unet")))

    def list_changes(self, later: "PipelineState") -> list[str]:
        """Name what differs in a later state; parts that were added have no effect."""
        return [name for name, value in self.marks.items() if later.marks.get(name) != value]


def _mark_part(name: str, part: Any) -> dict[str, object]:
    if hasattr(part, "set_timesteps"):
        # A scheduler with the same settings gives the same images.
        return {f"the settings of the {name}": (type(part), _config(part), _methods(part))}
    if part is None or isinstance(part, bool | int | float | str | list | tuple | dict):
        return {f"another {name}": part}
    marks: dict[str, object] = {f"another {name}": _Identity(part)}
    if hasattr(part, "added_tokens_encoder"):
        marks[f"words added to the {name}"] = len(part)
    if isinstance(part, nn.Module):
        marks[f"the config of the {name}"] = _config(part)
        marks[f"tiling of the {name}"] = getattr(part, "use_tiling", None)
        marks |= _mark_modules(name, part)
    return marks


def _mark_unet(unet: Any) -> dict[str, object]:
    blocks = getattr(unet, "up_blocks", ())
    processors = getattr(unet, "attn_processors", {}).values()
    return {
        "FreeU": [[getattr(block, name, None) for name in FREEU] for block in blocks],
        "attention processors": {type(each) for each in processors if not is_plain_processor(each)},
    }


def _mark_modules(name: str, network: nn.Module) -> dict[str, object]:
    """Return marks of the modules of a network: which they are, their weights, hooks and LoRA layers."""
    modules: dict[str, object] = {}
    weights: dict[str, object] = {}
    hooks: set[str] = set()
    has_lora = False
    for path, each in network.named_modules():
        path = path.replace("._orig_mod", "")
        if ".lora_" in path or path.endswith(".base_layer"):
            continue
        is_lora = hasattr(each, "base_layer") and hasattr(each, "active_adapters")
        has_lora |= is_lora and _acts(each)
        module: Any = unwrap_compiled(each.base_layer if is_lora else each)
        modules[path] = _Identity(module), type(module)
        if _has_hooks(module):
            hooks.add(path)
        if not _is_offloaded(module):
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                weights[f"{path}.{key}"] = None if tensor is None else (_Identity(tensor), _version(tensor))
    return {
        f"modules of the {name}": _Subset(modules),
        f"weights of the {name}": _Subset(weights),
        f"hooks in the {name}": hooks,
        f"LoRA in the {name}": has_lora,
    }


class _Subset(dict[str, object]):
    """Entries that compare equal where the other has the same for each key of both."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Subset) and all(other[key] == value for key, value in self.items() if key in other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # pyright: ignore


def _acts(layer: Any) -> bool:
    """Whether a LoRA layer changes what its base layer computes."""
    return bool(layer.merged) or (not layer.disable_adapters and bool(layer.active_adapters))


def _is_offloaded(module: Any) -> bool:
    """Whether accelerate or diffusers replaces the weights of the module as it runs."""
    return hasattr(module, "_hf_hook") or hasattr(module, "_diffusers_hook")


def _has_hooks(module: Any) -> bool:
    if hasattr(module, "_hf_hook"):
        return False
    if hasattr(module, "_diffusers_hook"):
        return not set(module._diffusers_hook.hooks) <= OFFLOADING
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    # transformers installs hooks of its own at the first call, which collect outputs.
    return "forward" in vars(module) or any(not _is_of_transformers(hook) for hook in hooks)


def _is_of_transformers(hook: object) -> bool:
    return (getattr(hook, "__module__", None) or "").startswith("transformers.")


def _config(part: object, skipped: Container[str] = ()) -> dict[str, str]:
    """Return the settings of a part of diffusers as text, without those of some names."""
    config = getattr(part, "config", None)
    if not isinstance(config, Mapping):
        return {}
    given = {str(name): value for name, value in cast("Mapping[str, object]", config).items()}
    settings = (name for name in given if not name.startswith("_") and name not in skipped)
    return {name: repr(given[name]) for name in settings}


def _methods(part: object) -> set[str]:
    """Return the names of methods that the object itself has in place of those of its class."""
    return {name for name, value in vars(part).items() if callable(value) and callable(vars(type(part)).get(name))}


def _version(tensor: Tensor) -> int:
    # Tensors made in inference mode have no version.
    return 0 if tensor.is_inference() else tensor._version


def watch_callback(callback: Callable[..., Any], changed: Callable[[str], None]) -> Callable[..., Any]:
    """Wrap a `callback_on_step_end` so that what it changes of the image is reported.

    Args:
        callback: The caller's function.
        changed: Called with the name of a tensor that the callback replaces or writes to, or of a setting of the
            pipeline.

    Returns:
        The callback to pass to the pipeline. It returns what the caller's returns.
    """

    def watched(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> Any:
        before = {name: _tensor_mark(value) for name, value in tensors.items()}
        given, settings = dict(tensors), _call_settings(pipe)
        outputs = callback(pipe, step, timestep, tensors)
        returned = outputs if isinstance(outputs, Mapping) else {}
        later = {name: _tensor_mark(value) for name, value in {**given, **returned}.items()}
        for name in (name for name, mark in later.items() if before.get(name) != mark):
            changed(name)
        now = _call_settings(pipe)
        for name in (name for name in {**settings, **now} if settings.get(name) != now.get(name)):
            changed(name.removeprefix("_"))
        return outputs

    return watched


def _tensor_mark(value: object) -> tuple[_Identity, object]:
    if not isinstance(value, Tensor):
        return _Identity(value), repr(value) if isinstance(value, Sequence) else None
    return _Identity(value), _sum(value) if value.is_inference() else value._version


def _sum(tensor: Tensor) -> float:
    return tensor.double().sum().item()


def _call_settings(pipe: object) -> dict[str, str]:
    """Return the settings that a running call keeps in the pipeline, such as `_guidance_scale`."""
    plain = (bool, int, float, str, tuple, list, dict, type(None))
    return {name: repr(value) for name, value in vars(pipe).items() if name[0] == "_" and isinstance(value, plain)}
