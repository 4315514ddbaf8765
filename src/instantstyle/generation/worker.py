"""One model on one device, used by a single thread: the worker behind the server and the studio."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

from PIL import Image

from ..core.pipeline import InstantStyle
from ..core.pipeline_checks import find_least_steps
from ..core.prompt_checks import EMPTY_PROMPT
from ..core.style import Style
from ..errors import JobError
from ..models.image_to_image import image_to_image_pipeline, load_controlnet, text_to_image_pipeline
from ..models.resolve import find_card
from ..recipe import Recipe
from ..recipe_types import Control, Lora
from ..utils.caller_warnings import collect_warnings
from .callbacks import Preview
from .generate import generate, prepare
from .load import fetch_controlnets, load_model
from .model_parts import ModelParts
from .request_checks import check_seeds
from .sources import SourceCache
from .task_thread import TaskThread
from .validate import validate

if TYPE_CHECKING:
    from diffusers import ControlNetModel


class Cancelled(JobError):
    """The generation was cancelled before it finished."""


@dataclass(frozen=True)
class Progress:
    """One finished step of an image.

    Attributes:
        index: Position of the image among those requested, from 0.
        step: Number of finished steps, from 1.
        num_steps: Number of steps of the image.
        preview: The decoded latents of this step, where a preview is due; see `preview_steps`.
    """

    index: int
    step: int
    num_steps: int
    preview: Image.Image | None = None


@dataclass(frozen=True)
class Finished:
    """One finished image.

    Attributes:
        index: Position of the image among those requested, from 0.
        image: The image.
        recipe: The complete recipe, from which the image can be generated again.
        warnings: What generating has warned of, a line for each finding.
    """

    index: int
    image: Image.Image
    recipe: Recipe
    warnings: tuple[str, ...] = ()


class ModelWorker(TaskThread):
    """Run everything that needs one model in one thread, one task at a time in order of submission.

    Example:
        >>> worker = ModelWorker.load(ModelParts("mini"), device="cpu")
        >>> cancel = threading.Event()
        >>> for event in worker.stream([recipe], cancel, previews=6):
        ...     if isinstance(event, Finished):
        ...         event.image.save("image.png")
        ...     elif event.preview:
        ...         event.preview.save("preview.png")
        >>> style = worker.build_style(recipe)
        >>> family = worker.run(lambda: worker.styled.architecture.name)
        >>> worker.close()

    Attributes:
        styled: The model. Call it only in the worker's thread, by `run` or `submit`.
    """

    def __init__(self, styled: InstantStyle, controlnets: "Mapping[Control, ControlNetModel] | None" = None) -> None:
        """Start the thread.

        Args:
            styled: The model, on its device. Its progress bar is disabled.
            controlnets: ControlNets on that device, by what they read; None for none.
        """
        super().__init__("model worker")
        self.styled = _without_progress_bar(styled)
        self._controlnets = {} if controlnets is None else controlnets
        self._pipelines: dict[tuple[bool, Control], InstantStyle] = {}
        self._known_warnings: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls,
        parts: ModelParts,
        device: str | None = None,
        loras: Sequence[Lora] = (),
        controls: Sequence[Control] = (),
        *,
        with_redux: bool = False,
    ) -> "ModelWorker":
        """Load a model and warm it up, so that the first request takes no longer than later ones.

        Args:
            parts: The model and its parts.
            device: A device of torch; None for a GPU where there is one, else the CPU.
            loras: The LoRA files of all its recipes; the warm-up has those that act in blocks.
            controls: What the ControlNets read that recipes can use.
            with_redux: Whether its recipes may have references of FLUX.1 Redux, so that a model without an adapter
                is loaded too.

        Returns:
            A worker that has generated one image of one step, or of as few as its scheduler has.

        Raises:
            BlockError: The network has no such block as a LoRA names.
            ModelError: The model cannot be found or loaded, or a LoRA does not fit it, or it has no such ControlNet.
            MissingExtra: A package is not installed; nothing is loaded.
            JobError: The device does not exist.
            StyleError: A LoRA has no layers in its blocks, or cannot act in this network.
        """
        fetch_controlnets(controls, parts.model)
        plain = with_redux and parts.adapter is None and find_card(parts.model).adapter is None
        styled = load_model(parts, device, plain=plain)
        worker = cls(styled, {control: load_controlnet(styled, control) for control in controls})
        # Not an empty prompt, which would be warned of.
        steps = find_least_steps(worker.styled.pipe)
        warm_up = Recipe(prompt="a cat", seed=0, model=parts.model, num_inference_steps=steps, loras=tuple(loras))
        warnings: set[str] = set()
        try:
            worker.generate(
                [warm_up], lambda event: warnings.update(event.warnings if isinstance(event, Finished) else ())
            )
        except BaseException:
            worker.close()
            raise
        # Those of the model's own files are not of a request, and name paths.
        worker._known_warnings = frozenset(warnings)
        return worker

    @property
    def device(self) -> str:
        """The device of the model, as torch names it."""
        return str(self.styled.pipe.device)

    def build_style(self, recipe: Recipe, sources: SourceCache | None = None, *, keep_grey: bool = False) -> Style:
        """Encode the references of a recipe.

        Args:
            recipe: References, crop, and the content to remove.
            sources: Cache with the files that `validate` decoded.
            keep_grey: Whether to keep embeddings of the images made grey, which a blend needs.

        Returns:
            The style that the recipe's images are generated with.

        Raises:
            JobError: The recipe names no reference.
        """
        style = self.run(lambda: prepare(self.styled, recipe, sources, keep_grey=keep_grey).style)
        if style is None:
            raise JobError("This recipe names no reference to build a style from.")
        return style

    def generate(
        self,
        recipes: Sequence[Recipe],
        on_event: Callable[[Progress | Finished], None],
        *,
        count: int = 1,
        previews: int = 0,
        check: Callable[[], None] = lambda: None,
        sources: SourceCache | None = None,
    ) -> None:
        """Generate the images of recipes and report each step and each image.

        Args:
            recipes: Recipes to generate, in order. A recipe with an `image` runs through the
                image-to-image pipeline made of the same modules.
            on_event: Called in the worker's thread after each step and each image.
            count: Images for each recipe, with seeds that count up from the recipe's seed.
            previews: Largest number of previews of one image; each costs one decoding by the VAE.
            check: Called in the worker's thread before each recipe and after each step, before the step
                is reported. Raise from it to cancel.
            sources: Cache with the files that `validate` decoded.

        Raises:
            InstantStyleError: A recipe cannot be generated. Errors of `on_event` and `check` are raised
                as they are.
        """

        def run() -> None:
            index = 0

            def on_step(step: int, num_steps: int, decode: Preview) -> None:
                check()
                due = step in preview_steps(previews, num_steps)
                on_event(Progress(index, step, num_steps, decode() if due else None))

            for recipe in recipes:
                check()
                styled = self._find_pipeline(recipe)
                check_seeds(recipe, count)
                known = self._known_warnings | ({EMPTY_PROMPT} if recipe.image else set())
                with collect_warnings() as warned:
                    prepared = prepare(styled, recipe, sources)
                    images = generate(styled, recipe, count=count, on_preview=on_step, prepared=prepared)
                    for image, complete in images:
                        warnings = tuple(each for each in dict.fromkeys(warned) if each not in known)
                        on_event(Finished(index, image, complete, warnings))
                        index += 1

        self.run(run)

    def stream(self, recipes: Sequence[Recipe], cancel: Event, *, previews: int = 0) -> Iterator[Progress | Finished]:
        """Validate and generate recipes, yielding the events while the images are generated.

        Closing the iterator early sets `cancel`, so the worker stops at its next step.

        Args:
            recipes: Recipes to generate, one image each.
            cancel: Set it to cancel at the next step.
            previews: As for `generate`.

        Yields:
            A `Progress` for each step and a `Finished` for each image, in order.

        Raises:
            Cancelled: `cancel` was set before the last step of the last image.
            InstantStyleError: A recipe is invalid or cannot be generated.
        """
        events: SimpleQueue[Progress | Finished | None] = SimpleQueue()

        def check() -> None:
            if cancel.is_set():
                raise Cancelled("Cancelled.")

        def run() -> None:
            sources = SourceCache()
            validate(*recipes, sources=sources)
            self.generate(recipes, events.put, previews=previews, check=check, sources=sources)

        future = self.submit(run)
        future.add_done_callback(lambda _: events.put(None))
        try:
            while (event := events.get()) is not None:
                yield event
            future.result()
        finally:
            cancel.set()

    def _find_pipeline(self, recipe: Recipe) -> InstantStyle:
        """Return the pipeline of a recipe; all are of the same modules, and no weights are loaded again.

        Raises:
            JobError: The recipe has a ControlNet that is not loaded.
        """
        if recipe.image is None:
            return self.styled
        if recipe.control != "none" and recipe.control not in self._controlnets:
            raise JobError(f"The {recipe.control} ControlNet is not loaded here; leave control at none.")
        key = bool(recipe.inversion), recipe.control
        if key not in self._pipelines:
            make = text_to_image_pipeline if recipe.inversion else image_to_image_pipeline
            made = make(self.styled, recipe.control, self._controlnets.get(recipe.control))
            self._pipelines[key] = _without_progress_bar(made)
        return self._pipelines[key]


def preview_steps(previews: int, num_steps: int) -> list[int]:
    """Spread previews evenly over the steps of one image.

    Args:
        previews: Largest number of previews.
        num_steps: Number of steps of the image.

    Returns:
        The steps after which a preview is due, ascending, from 1. The last step is never among them, as
        the finished image follows it. Few steps have fewer previews.
    """
    steps = {round(num_steps * number / (previews + 1)) for number in range(1, previews + 1)}
    return sorted(steps - {0, num_steps})


def _without_progress_bar(styled: InstantStyle) -> InstantStyle:
    styled.pipe.set_progress_bar_config(disable=True)
    return styled
