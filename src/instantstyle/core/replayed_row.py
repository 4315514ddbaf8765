"""Calls that go through inverted latents: from their noise, or beside a row that replays them."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..errors import JobError, RequestWarning, StyleError
from ..utils.caller_warnings import warn_caller
from ..utils.text import shorten
from .inversion import Inversion, check_draws_from_latents
from .pipeline_call import READ_ONLY, only_reads
from .protocols import Pipeline, PipelineArguments, network_of
from .shared_attention import SharedAttention
from .style import Style

CALLBACK = "callback_on_step_end"

SEEDLESS = "seed has no effect on images that begin with an inversion; leave it out, and vary prompt or style."
"""Warning of a seed beside an inversion."""


def fit_arguments(
    pipe: Pipeline, inversion: Inversion | None, shared: SharedAttention | None, arguments: PipelineArguments
) -> PipelineArguments:
    """Give a call the size and the steps of its inversion.

    Args:
        pipe: The pipeline.
        inversion: The one that images begin with; None for noise.
        shared: The `SharedAttention` of the call, perhaps with an inversion as its reference.
        arguments: Arguments of the pipeline that the caller gives.

    Raises:
        JobError: The caller gives another size or number of steps, or latents beside an inversion.
        ModelError: The pipeline does not draw from latents.
        StyleError: The inversion was made with another model or scheduler.
    """
    reference = None if shared is None else shared.reference
    found = inversion if inversion is not None else reference
    if found is None:
        return arguments
    if not isinstance(cast(object, found), Inversion):
        raise StyleError("inversion is what styled.invert(picture) returns; pass that, or leave it out.")
    check_draws_from_latents(pipe, "An inversion")
    found.check(pipe, arguments)
    if inversion is not None and reference is not None:
        reference.check(pipe, {"height": found.height, "width": found.width, "num_inference_steps": found.steps})
    if inversion is not None and arguments.get("latents") is not None:
        raise JobError("latents and inversion exclude each other; give one of them.")
    return {**arguments, "num_inference_steps": found.steps, "height": found.height, "width": found.width}


def check_seedless(inversion: Inversion | None, seed: object, images: int) -> None:
    """Check that a call which begins with an inversion asks for one image of each prompt, and warn of a seed.

    Args:
        inversion: The inversion; None for noise, which seeds draw.
        seed: The seed that the caller gives; None for none.
        images: Images for each prompt.

    Raises:
        JobError: Images of a prompt would be equal.
    """
    if inversion is None:
        return
    if images > 1:
        raise JobError(
            f"num_images_per_prompt is {images}, and images that begin with an inversion do not depend on a seed, so "
            f"that all {images} would be equal; leave it out, or give different prompts."
        )
    if seed is not None:
        warn_caller(SEEDLESS, RequestWarning)


def check_distinct(inversion: Inversion | None, prompt: object, styles: object, arguments: PipelineArguments) -> None:
    """Check that the images of a call which begins with an inversion differ in more than their seeds.

    Args:
        inversion: The inversion; None for noise.
        prompt: One prompt or several; None for embeddings among the arguments.
        styles: The styles: one for each prompt where there are several without a `StyleConditioning`.
        arguments: Arguments of the pipeline, of which lists and tensors may have an entry for each prompt.

    Raises:
        JobError: Two of them would be equal.
    """
    given = arguments.get("prompt_embeds") if prompt is None else prompt
    if inversion is None or isinstance(given, str) or not isinstance(given, list | tuple | Tensor):
        return
    listed = cast("Sequence[object]", styles if isinstance(styles, list | tuple) else [styles])
    own = [each for each in listed if isinstance(each, Style)]
    values = [given, own, *(getattr(each, "styles", None) for each in listed)]
    values += [value for name, value in arguments.items() if name != "generator"]
    entries = [
        list(value) for value in values if isinstance(value, list | tuple | Tensor) and _count(value) == len(given)
    ]
    for second in range(len(given)):
        for first in range(second):
            if all(_is_same(each[first], each[second]) for each in entries):
                which = "" if prompt is None else f", {shorten(given[first])}"
                raise JobError(
                    f"Prompts {first + 1} and {second + 1} are the same{which}, and images that begin with an "
                    "inversion do not depend on a seed, so that both would be equal; leave one of them out."
                )


def _count(value: Sequence[object] | Tensor) -> int:
    """Return the number of entries; 0 of a tensor that is a number."""
    return 0 if isinstance(value, Tensor) and not value.ndim else len(value)


def _is_same(first: object, second: object) -> bool:
    """Whether two entries are one object, or equal words, numbers or tensors."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return first is second or (isinstance(first, str | int | float) and first == second)


def begin_with(
    pipe: Pipeline, inversion: Inversion | None, arguments: PipelineArguments, count: int
) -> PipelineArguments:
    """Let all images of a call begin with the latents of an inversion.

    Args:
        pipe: The pipeline.
        inversion: The inversion; None changes nothing.
        arguments: Arguments of the pipeline.
        count: Number of images.
    """
    if inversion is None:
        return arguments
    return {**arguments, "latents": inversion.noise.to(network_of(pipe).dtype).repeat(count, 1, 1, 1)}


def check_styles_beside(replayed: "ReplayedRow | None", styles: object) -> None:
    """Check that all rows have one style where one of them replays a picture.

    Raises:
        StyleError: Each prompt has a style of its own.
    """
    if replayed is None or styles is None or isinstance(styles, Style):
        return
    counts = [len(getattr(each, "styles", ())) for each in cast("Sequence[object]", styles)]
    if any(isinstance(each, Style) for each in cast("Sequence[object]", styles)) or any(count > 1 for count in counts):
        raise StyleError(
            "A SharedAttention with a reference takes one style for all prompts; give one, or generate in several "
            "calls."
        )


@dataclass(frozen=True, eq=False)
class ReplayedRow:
    """The row of a batch that goes through inverted latents, before those of the prompts."""

    inversion: Inversion
    is_returned: bool = False
    """Whether the images of the call begin with this row's."""

    @classmethod
    def of(cls, shared: SharedAttention | None) -> "ReplayedRow | None":
        """Return the row of a `SharedAttention`; None without a reference."""
        return None if shared is None or shared.reference is None else cls(shared.reference, shared.return_reference)

    def prepend(
        self, pipe: Pipeline, inputs: Mapping[str, Any], arguments: PipelineArguments
    ) -> tuple[dict[str, Any], PipelineArguments]:
        """Add the row to the arguments of a call.

        Args:
            pipe: The pipeline.
            inputs: `prompt`, `num_images_per_prompt`, perhaps `generator`.
            arguments: The other arguments of the call. A `callback_on_step_end` gets all rows.

        Returns:
            Both, with the prompts repeated for the images of each.

        Raises:
            JobError: The call has embeddings instead of prompts, or one generator for several images.
        """
        prompt = inputs.get("prompt")
        if prompt is None:
            raise JobError("A SharedAttention with a reference needs words; give prompt instead of prompt_embeds.")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        per_prompt = int(inputs.get("num_images_per_prompt", 1))
        count = len(prompts) * per_prompt
        # Texts beside the prompt: one for all, or one for each.
        texts = {
            name: value if isinstance(value, list) else [value] * len(prompts)
            for name, value in arguments.items()
            if "prompt" in name and isinstance(value, str | list)
        }
        first = {name: "" if "negative" in name else self.inversion.prompt for name in texts}
        own = {name: [first[name], *_repeat(value, per_prompt)] for name, value in texts.items()}
        generators = inputs.get("generator", arguments.get("generator"))
        if count > 1 and isinstance(generators, torch.Generator):
            raise JobError(
                "A SharedAttention with a reference needs a generator for each image; give seed=, or a list."
            )
        inputs = {
            **inputs,
            "prompt": [self.inversion.prompt, *_repeat(prompts, per_prompt)],
            "num_images_per_prompt": 1,
        }
        latents = self._latents(pipe, arguments.get("latents"), count, generators)
        added = {}
        if isinstance(generators, list | tuple):
            added = {"generator": [torch.Generator("cpu"), *generators]}
        arguments = {name: value for name, value in arguments.items() if name != "generator" or not added}
        return {**inputs, **added}, {**arguments, **own, "latents": latents, **self._callback(arguments)}

    def _latents(self, pipe: Pipeline, given: Tensor | None, count: int, generators: Any) -> Tensor:
        """Return the first latents: those of the inversion, and noise as the pipeline itself would draw it."""
        noise = self.inversion.noise.to(network_of(pipe).dtype)
        if given is None:
            device = getattr(pipe, "_execution_device", pipe.device)
            own = list(generators) if isinstance(generators, tuple) else generators
            given = randn_tensor((count, *noise.shape[1:]), own, device, noise.dtype)
        return torch.cat([noise.to(given), given])

    def _callback(self, arguments: PipelineArguments) -> dict[str, Any]:
        """Return a callback that puts the next latents of the inversion into the first row, after the caller's."""
        then: Callable[..., Any] | None = arguments.get(CALLBACK)

        def replay(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            returned = then(pipe, step, timestep, tensors) if then else None
            changed = {**tensors, **(returned if isinstance(returned, Mapping) else {})}
            latents = changed["latents"].clone()
            latents[0] = self.inversion.trajectory[step + 1].to(latents)
            return {**(returned if isinstance(returned, Mapping) else {}), "latents": latents}

        # It changes the latents and nothing of the network.
        setattr(replay, READ_ONLY, then is None or only_reads(then))
        inputs = f"{CALLBACK}_tensor_inputs"
        return {CALLBACK: replay, inputs: [*dict.fromkeys(["latents", *arguments.get(inputs, ())])]}


def _repeat(values: Sequence[Any], times: int) -> list[Any]:
    return [value for value in values for _ in range(times)]
