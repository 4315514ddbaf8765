"""What the buttons do: translate the page to recipes, and show what the easel tells."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from time import monotonic
from typing import Any

import gradio as gr

from ..errors import InstantStyleError
from ..imaging.png_metadata import read_recipe
from ..recipe import Recipe
from ..synthetic.vocabulary import advice
from .comparisons import Strip, compared, swept
from .easel import Cancelled, Easel, Finished
from .form_values import FormValues, recipe_for
from .html import caption, status
from .image_store import ImageStore, newest
from .input_panel import Form
from .output_panel import History, OutputPanel

MOST = 64
"""Pictures that a browser remembers."""

Updates = Iterator[dict[Any, Any]]
"""What changes on the page, by component."""

logger = logging.getLogger(__name__)


class Actions:
    """What draws, and what shows what was drawn."""

    def __init__(
        self, easel: Easel, keep: ImageStore, form: Form, stage: OutputPanel, history: History
    ) -> None:
        self.easel, self.keep = easel, keep
        self.form, self.stage, self.history = form, stage, history
        self._stops: dict[str, Event] = {}

    def draw(self, request: gr.Request, names: Any, current: Any, *values: Any) -> Updates:
        """The picture that is asked for, seen while it is made."""
        yield from self._told(self._drawn(self._stop(request), names, values), current)

    def compare(self, request: gr.Request, beside: Any, current: Any, *values: Any) -> Updates:
        """What each part of the method does, side by side."""
        yield from self._told(self._side_by_side(compared, self._stop(request), beside, values), current)

    def sweep(self, request: gr.Request, beside: Any, current: Any, *values: Any) -> Updates:
        """What the scale does."""
        yield from self._told(self._side_by_side(swept, self._stop(request), beside, values), current)

    def cancel(self, request: gr.Request, current: Any) -> dict[Any, Any]:
        """What is being drawn ends at its next step; the picture before it is shown again."""
        self.leave(request)
        return {**self._ended("Cancelled."), **self._shown(current)}

    def leave(self, request: gr.Request) -> None:
        """Nobody waits any more."""
        if stop := self._stops.pop(str(request.session_hash), None):
            stop.set()

    def back(self, names: Any) -> dict[Any, Any]:
        """The page is loaded anew: those pictures that are still there."""
        there = [name for name in names or [] if self.keep.picture(name)]
        return {**self._remembered(there), **self._shown(there[0] if there else None)}

    def pick(self, names: Any, chosen: gr.SelectData) -> dict[Any, Any]:
        """One of several pictures is shown large."""
        place = chosen.index
        name = names[place] if isinstance(place, int) and place < len(names or []) else None
        return self._shown(name)

    def forget(self, names: Any, beside: Any) -> dict[Any, Any]:
        """The pictures are deleted."""
        self.keep.remove(names)
        self.keep.remove(beside)
        emptied = {self.stage.strip: gr.update(value=[], visible=False), self.stage.beside: []}
        return {**self._remembered([]), **self._shown(None), **emptied}

    def _drawn(self, stop: Event, names: Any, values: tuple[Any, ...]) -> Updates:
        form, begun = self.form, monotonic()
        recipe = recipe_for(FormValues.of(values), self.easel.settings, self.keep)
        yield {form.status: status("Drawing …"), form.cancel: gr.update(interactive=True)}
        for news in self.easel.draw([recipe], stop):
            if not isinstance(news, Finished):
                look = {self.stage.picture: news.image} if news.image else {}
                yield {form.status: status(f"Step {news.done} of {news.steps}"), **look}
                continue
            name = self.keep.add(news.image, self.keep.told(news.recipe)).name
            yield {
                **self._shown(name),
                **self._remembered(newest([name], names or [], MOST)),
                **self._ended(f"Drawn in {monotonic() - begun:.1f} s. {self._advice(recipe)}".strip()),
                form.seed: str(news.recipe.seed),
            }

    def _side_by_side(
        self, strip_of: Callable[[Recipe], Strip], stop: Event, beside: Any, values: tuple[Any, ...]
    ) -> Updates:
        """Each is there as soon as it is made, instead of those that were there before."""
        form, stage = self.form, self.stage
        asked = FormValues.of(values)
        # Of the seed that is shown, so that what is seen is among them.
        asked = replace(asked, locked=asked.locked or bool(asked.seed.strip()))
        recipe = recipe_for(asked, self.easel.settings, self.keep)
        strip = strip_of(recipe)
        self.keep.remove(beside)
        yield {
            form.status: status(f"Drawing {len(strip)} pictures …"),
            form.cancel: gr.update(interactive=True),
            stage.strip: gr.update(value=[], visible=False),
            stage.beside: [],
        }
        made: list[str] = []
        for news in self.easel.draw([one for _, one in strip], stop):
            if isinstance(news, Finished):
                made.append(self.keep.add(news.image, self.keep.told(news.recipe)).name)
                tiles = [
                    (str(self.keep.pictures / name), label)
                    for name, (label, _) in zip(made, strip, strict=False)
                ]
                yield {stage.strip: gr.update(value=tiles, visible=True), stage.beside: list(made)}
            else:
                place = f"Picture {news.place + 1} of {len(strip)}, step {news.done} of {news.steps}"
                yield {form.status: status(place)}
        yield {**self._ended(f"{len(strip)} pictures from seed {recipe.seed}"), form.seed: str(recipe.seed)}

    def _told(self, updates: Updates, current: Any) -> Updates:
        """Whatever goes wrong is told in words; what was shown before is shown again."""
        try:
            yield from updates
        except InstantStyleError as fault:
            words = in_words(fault, self.keep)
            ended = self._ended(words, fault=not isinstance(fault, Cancelled))
            yield {**ended, **self._shown(current)}
        except Exception as fault:
            yield {**self._ended(in_words(fault, self.keep), fault=True), **self._shown(current)}

    def _stop(self, request: gr.Request) -> Event:
        """What ends this drawing; a person has one at a time."""
        self.leave(request)
        return self._stops.setdefault(str(request.session_hash), Event())

    def _advice(self, recipe: Recipe) -> str:
        """For words that the model cannot know."""
        return (advice(recipe.prompt) or "") if recipe.model == "mini" else ""

    def _ended(self, words: str, *, fault: bool = False) -> dict[Any, Any]:
        return {
            self.form.status: status(words, fault=fault),
            self.form.cancel: gr.update(interactive=False),
        }

    def _shown(self, name: Any) -> dict[Any, Any]:
        """The picture of this name on the stage; None: an empty one."""
        stage, path = self.stage, self.keep.picture(name)
        recipe = read_recipe(path) if path else None
        there = str(path) if path else None
        return {
            stage.picture: there,
            stage.caption: caption(recipe) if recipe else "",
            stage.download: gr.update(value=there, interactive=bool(path)),
            stage.reuse: gr.update(interactive=bool(path)),
            stage.recipe: recipe.model_dump(mode="json", exclude_none=True) if recipe else None,
            stage.current: name if path else None,
        }

    def _remembered(self, names: list[str]) -> dict[Any, Any]:
        tiles = [str(path) for name in names if (path := self.keep.picture(name))]
        return {
            self.history.names: names,
            self.history.gallery: gr.update(value=tiles, visible=bool(tiles)),
            self.history.heading: gr.update(visible=bool(tiles)),
        }


def in_words(fault: Exception, keep: ImageStore) -> str:
    """What a visitor caused is told as it is; of what is our own mistake nothing but that it is."""
    if isinstance(fault, InstantStyleError):
        return keep.without_places(" ".join(str(fault).split()))
    logger.error("The studio failed.", exc_info=fault)
    return "The studio failed at this; its log says why."
