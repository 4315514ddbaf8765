"""The model on its device: loaded once, drawing for one after the other, and shown while it draws."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeVar

from PIL import Image

from ..core.pipeline import InstantStyle
from ..core.style import Style
from ..errors import JobError
from ..generation.callbacks import OnPreview, Preview
from ..generation.generate import generate, load_model, prepare, validate
from ..recipe import Recipe
from .content_suggestions import closest
from .settings import Settings

Told = TypeVar("Told")


class Cancelled(JobError):
    """Whoever asked does not want it any more."""


@dataclass(frozen=True)
class Unfinished:
    """A step of the picture of this place is done; `image` where a look was taken."""

    place: int
    done: int
    steps: int
    image: Image.Image | None = None


@dataclass(frozen=True)
class Finished:
    """The picture of this place, and the recipe that makes it again."""

    place: int
    image: Image.Image
    recipe: Recipe


class Easel:
    """All that needs the model is done in one thread, so that nobody disturbs anybody."""

    def __init__(self, styled: InstantStyle, settings: Settings) -> None:
        styled.pipe.set_progress_bar_config(disable=True)
        self.styled, self.settings = styled, settings
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="easel")

    @classmethod
    def loaded(cls, settings: Settings) -> "Easel":
        """Warm: what a first drawing costs beyond others is paid before anyone asks."""
        styled = load_model(settings.model, settings.adapter, settings.image_encoder, settings.device)
        easel = cls(styled, settings)
        warm = Recipe(prompt="", seed=0, model=settings.model, num_inference_steps=1)
        list(easel.draw([warm], Event()))
        return easel

    @property
    def device(self) -> str:
        """Where it draws."""
        return str(self.styled.pipe.device)

    def draw(self, recipes: Sequence[Recipe], stop: Event) -> Iterator[Unfinished | Finished]:
        """The recipes' pictures, and the steps that lead there.

        `Cancelled` at the next step once `stop` is set; whoever reads no further sets it too.
        """
        news: SimpleQueue[Any] = SimpleQueue()
        self._hand.submit(self._draw, recipes, stop, news.put)
        try:
            while (told := news.get()) is not None:
                if isinstance(told, BaseException):
                    raise told
                yield told
        finally:
            stop.set()

    def style(self, recipe: Recipe) -> Style:
        """What its references are like, less what is taken out; `JobError` where there are none."""
        style = self._done(lambda: prepare(self.styled, recipe).style)
        if style is None:
            raise JobError("There is no style yet; drop a picture, or pick a saved style.")
        return style

    def shows(self, image: Image.Image, count: int = 3) -> list[str]:
        """Of the words that the model knows those closest to the picture; none of a model without any."""
        if self.settings.model != "mini" or self.styled.text_encoder is None:
            return []
        return self._done(lambda: closest(self.styled, image, count))

    def _done(self, work: Callable[[], Told]) -> Told:
        return self._hand.submit(work).result()

    def _draw(self, recipes: Sequence[Recipe], stop: Event, tell: Callable[[Any], None]) -> None:
        try:
            validate(*recipes)
            for place, recipe in enumerate(recipes):
                if stop.is_set():
                    raise Cancelled("Cancelled.")
                for image, made in generate(self.styled, recipe, on_look=self._watch(place, stop, tell)):
                    tell(Finished(place, image, made))
            tell(None)
        # Whatever it is: it belongs to whoever asked, and the next one is to be served.
        except BaseException as fault:
            tell(fault)

    def _watch(self, place: int, stop: Event, tell: Callable[[Any], None]) -> OnPreview:
        def on_look(done: int, steps: int, look: Preview) -> None:
            if stop.is_set():
                raise Cancelled("Cancelled.")
            due = done in looked_at(steps, self.settings.looks)
            tell(Unfinished(place, done, steps, look() if due else None))

        return on_look


def looked_at(steps: int, looks: int) -> set[int]:
    """After which of the steps a look is taken: `looks` times where there are as many; not after the last."""
    return {round(steps * part / (looks + 1)) for part in range(1, looks + 1)} - {0, steps}
