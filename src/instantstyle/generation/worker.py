"""A worker: one model on one device, loaded once, in a thread of its own."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from threading import Thread
from time import monotonic

from PIL import Image

from ..core.pipeline import InstantStyle
from ..core.style import Style
from ..models import image_to_image_pipeline
from ..recipe import Recipe
from ..server.job_queue import JobQueue
from .callbacks import OnPreview
from .generate import generate, load_model, prepare


class Painter:
    """Draws recipes, and sees references, one at a time."""

    def __init__(self, styled: InstantStyle) -> None:
        self.styled = _quiet(styled)

    @classmethod
    def loaded(
        cls, model: str, adapter: str | None, image_encoder: str | None, device: str | None
    ) -> "Painter":
        """Warm: what a first drawing costs beyond others is paid before anyone asks."""
        painter = cls(load_model(model, adapter, image_encoder, device))
        list(painter.draw(Recipe(prompt="", seed=0, model=model, num_inference_steps=1)))
        return painter

    def draw(
        self, recipe: Recipe, count: int = 1, on_look: OnPreview | None = None
    ) -> Iterator[tuple[Image.Image, Recipe]]:
        """As `drawing.draw`."""
        styled = self._restyling if recipe.image else self.styled
        return generate(styled, recipe, count=count, on_look=on_look)

    def style(self, recipe: Recipe) -> Style:
        """What its references are like."""
        style = prepare(self.styled, recipe).style
        assert style is not None
        return style

    @cached_property
    def _restyling(self) -> InstantStyle:
        """The same model's parts: nothing is loaded twice."""
        return _quiet(image_to_image_pipeline(self.styled))


def labour(line: JobQueue, painter: Painter) -> None:
    """Until the line is closed and empty."""
    while (job := line.take()) is not None:
        begun = monotonic()
        try:
            job.check()
            job.work(painter, job)
            job.tell(None)
        # Whatever it is: it belongs to whoever asked, and the next one is to be served.
        except BaseException as fault:
            job.tell(fault)
        finally:
            line.done(job, monotonic() - begun)


def at_work(line: JobQueue, painters: Sequence[Painter]) -> list[Thread]:
    """A thread for each; they end with the line."""
    threads = [Thread(target=labour, args=(line, painter), daemon=True) for painter in painters]
    for thread in threads:
        thread.start()
    return threads


def unfinished(count: int, steps: int) -> set[int]:
    """After which of the steps a picture is shown unfinished, `count` times where there are as many steps."""
    return {round(steps * part / (count + 1)) for part in range(1, count + 1)} - {0, steps}


def watching(count: int, check: Callable[[], None], show: Callable[[int, Image.Image], None]) -> OnPreview:
    """`check` after each step; `show` is handed the unfinished pictures, counted for each picture anew."""

    def on_look(done: int, steps: int, look: Callable[[], Image.Image]) -> None:
        check()
        due = sorted(unfinished(count, steps))
        if done in due:
            show(due.index(done), look())

    return on_look


def _quiet(styled: InstantStyle) -> InstantStyle:
    styled.pipe.set_progress_bar_config(disable=True)
    return styled
