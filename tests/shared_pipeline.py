"""One small pipeline for many tests, and a check after each of them that it is as before."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from torch import nn

CALL_STATE = {
    *("_clip_skip", "_cross_attention_kwargs", "_denoising_end", "_guidance_rescale", "_guidance_scale"),
    *("_interrupt", "_num_timesteps"),
}
"""Attributes that every call of diffusers' pipeline sets, and reads only after it has set them."""


class SharedPipeline:
    """A pipeline that tests share. It is built anew after a test that changed it."""

    def __init__(self, build: Callable[[], StableDiffusionXLPipeline]) -> None:
        self._build = build
        self._pipe: StableDiffusionXLPipeline | None = None
        self._used = False

    def get(self) -> StableDiffusionXLPipeline:
        """Return the pipeline, with the state of one that has not been called."""
        if self._pipe is None:
            self._pipe = self._build()
            self._random_state = torch.get_rng_state()
            self._pipe.encode_prompt("a")  # transformers adds hooks to a text encoder in its first call
            self._before = _Snapshot(self._pipe)
            self._scheduler_state = dict(vars(self._pipe.scheduler))
        self._used = True
        # Building one seeds torch: what is drawn without a seed does not depend on the tests before.
        torch.set_rng_state(self._random_state)
        return self._pipe

    def restore(self) -> list[str]:
        """Reset what every call sets; list everything else that was changed since `get` and not changed back."""
        pipe, used = self._pipe, self._used
        self._used = False
        if pipe is None or not used:
            return []
        for name in CALL_STATE:
            vars(pipe).pop(name, None)
        leftovers = [*self._before.list_changes()]
        if leftovers:
            self._pipe = None
        else:
            vars(pipe.scheduler).clear()
            vars(pipe.scheduler).update(self._scheduler_state)
        return leftovers


class _Snapshot:
    """All attributes of a pipeline and of the modules in it: the same objects, or equal values; and all weights."""

    def __init__(self, pipe: StableDiffusionXLPipeline) -> None:
        components = {name: one for name, one in pipe.components.items() if one is not None}
        self.objects: dict[str, Any] = {"pipe": pipe}
        for part, component in components.items():
            if isinstance(component, nn.Module):
                self.objects |= {f"{part}.{name}".rstrip("."): module for name, module in component.named_modules()}
        self.types = {name: type(one) for name, one in self.objects.items()}
        self.attributes = {name: _copy_attributes(one) for name, one in self.objects.items()}
        networks = {name: one for name, one in components.items() if isinstance(one, nn.Module)}
        self.weights = {
            f"{part}.{name}": tensor for part, network in networks.items() for name, tensor in _tensors_of(network)
        }
        self.values = self._read_weights()
        self.others = {**components, "tokenizer": pipe.tokenizer}
        self.settings = self._read_settings()

    def list_changes(self) -> Iterator[str]:
        for name, one in self.objects.items():
            before = self.attributes[name]
            # In C, and by identity first: most objects are unchanged.
            if type(one) is self.types[name] and _equal(before, vars(one)):
                continue
            if type(one) is not self.types[name]:
                yield f"the type of {name}"
            after = vars(one)
            missing = object()
            yield from (
                f"{name}.{attribute}"
                for attribute in before.keys() | after.keys()
                if not _equal(before.get(attribute, missing), after.get(attribute, missing))
            )
        for read, before in ((self._read_weights, self.values), (self._read_settings, self.settings)):
            yield from (name for name, value in read().items() if value != before[name])

    def _read_weights(self) -> dict[str, tuple[Any, ...]]:
        """Sizes too: an in-place change of `tensor.data` is not counted in its version."""
        sizes = torch.stack(torch._foreach_norm([tensor.detach() for tensor in self.weights.values()])).tolist()
        return {
            name: (tensor._version, tensor.data_ptr(), tensor.requires_grad, tensor.grad is None, size)
            for (name, tensor), size in zip(self.weights.items(), sizes, strict=True)
        }

    def _read_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for name, component in self.others.items():
            config = getattr(component, "config", {})
            settings[f"the config of {name}"] = dict(config if isinstance(config, dict) else vars(config))
        tokenizer, scheduler = self.others["tokenizer"], self.others["scheduler"]
        settings["the tokenizer"] = tokenizer.model_max_length, len(tokenizer)
        settings["the scheduler's attributes"] = type(scheduler), {*vars(scheduler)}
        return settings


def _tensors_of(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from network.named_parameters()
    yield from ((name, buffer) for name, buffer in network.named_buffers() if buffer.is_floating_point())


def _copy_attributes(one: Any) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, dict | list | set) else value for name, value in vars(one).items()}


def _equal(before: Any, after: Any) -> bool:
    try:
        return bool(before == after)
    except (RuntimeError, TypeError, ValueError):  # tensors that are not the same objects
        return False
