"""The rows of a call of the pipeline: its images, and rows beside them that are not returned."""

# A pipeline's output is of any type.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from .call_inputs import call_inputs, takes_several_images
from .call_styles import CallStyles
from .inversion import Inversion
from .latent_colours import OpenedColours, with_latent_colours
from .protocols import Pipeline, PipelineArguments
from .replayed_row import ReplayedRow, begin_with, check_styles_beside
from .row_layout import RowLayout
from .shared_attention import check_shared
from .twin_images import check_hold_layout, inject_twins, pair_generators


@dataclass(frozen=True, eq=False)
class CallRows:
    """What a call generates."""

    prompts: int
    images: int
    """Images for each prompt."""
    twin_share: float
    """Share of the steps in which each image has an unstyled twin, 0..1."""
    replayed: ReplayedRow | None
    """The picture that others attend to, in a row before theirs."""
    inversion: Inversion | None
    """What the images begin with instead of noise."""

    @classmethod
    def of(
        cls,
        pipe: Pipeline,
        prompts: int,
        images: int,
        hold_layout: object,
        inversion: Inversion | None,
        given: CallStyles,
        styles: Any,
        arguments: PipelineArguments,
    ) -> "CallRows":
        """Check which rows a call has.

        Args:
            pipe: The pipeline.
            prompts: Number of prompts.
            images: Images for each.
            hold_layout: Share of the steps in which twins hold the layout.
            inversion: What the images begin with; None for noise.
            given: What acts, by kind.
            styles: The styles that were made of `given.rest`; None for none.
            arguments: Arguments of the pipeline.

        Raises:
            JobError: The pipeline's rows cannot be paired with twins.
            StyleError: There is nothing to share, or each prompt has a style of its own beside a replayed picture.
        """
        is_several = takes_several_images(pipe)
        share = check_hold_layout(
            hold_layout, given.loras or styles, given.shared, arguments, prompts, several=is_several
        )
        # Images of a prompt that begin with an inversion would be equal.
        check_shared(given.shared, prompts * images, several=inversion is None and is_several)
        replayed = ReplayedRow.of(given.shared)
        check_styles_beside(replayed, styles)
        return cls(prompts, images, share, replayed, inversion)

    def injected(self, pipe: Pipeline, row_layout: RowLayout | None) -> AbstractContextManager[None]:
        """Let twins hold the layout inside the `with` block, if there are any."""
        return inject_twins(pipe, self.twin_share, self.images, row_layout)

    def build_arguments(
        self,
        pipe: Pipeline,
        prompt: str | Sequence[str] | None,
        generators: dict[str, Any],
        arguments: PipelineArguments,
        colours: OpenedColours | None,
    ) -> Mapping[str, Any]:
        """Return all arguments of the pipeline.

        Args:
            pipe: The pipeline.
            prompt: One prompt or several.
            generators: `{"generator": [...]}`, or nothing where `arguments` has generators.
            arguments: The arguments that the caller gives, and defaults.
            colours: Colours that the latents get between two steps.
        """
        per_prompt = self.images
        if self.twin_share:
            per_prompt = 2 * self.images
            generators, arguments = pair_generators(self.images, generators, arguments)
        inputs = call_inputs(pipe, prompt, per_prompt, generators)
        noise = inputs.get("generator", arguments.get("generator"))
        arguments = with_latent_colours(pipe, colours, arguments, noise)
        count = self.prompts * inputs.get("num_images_per_prompt", self.images)
        arguments = begin_with(pipe, self.inversion, arguments, count)
        if self.replayed is not None:
            inputs, arguments = self.replayed.prepend(pipe, inputs, arguments)
        return {**inputs, **arguments}

    def select_returned(self, output: Any) -> Any:
        """Return the pipeline's output without the rows beside the images."""
        if self.twin_share:
            return select_rows(output, lambda row: row % (2 * self.images) < self.images)
        if self.replayed is not None and not self.replayed.is_returned:
            return select_rows(output, lambda row: row > 0)
        return output


def select_rows(output: Any, is_kept: Callable[[int], bool]) -> Any:
    """Keep rows of the output of a pipeline.

    Args:
        output: A tuple, or an object of diffusers, which is changed.
        is_kept: Whether a row is kept, by its number.

    Returns:
        A tuple, or the same object; fields without rows stay.
    """

    def select(value: Any) -> Any:
        if not hasattr(value, "__len__") or isinstance(value, str):
            return value
        rows = list(filter(is_kept, range(len(value))))
        return type(value)(value[row] for row in rows) if isinstance(value, list | tuple) else value[rows]

    if isinstance(output, tuple):
        return tuple(map(select, output))
    for name, value in list(output.items()):
        output[name] = select(value)
    return output
