"""Event handlers that generate images and display them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic

import gradio as gr
from gradio.blocks import Block

from ..errors import InstantStyleError
from ..generation.worker import Cancelled, Finished, ModelWorker
from ..imaging.png_metadata import read_recipe
from ..recipe import Recipe
from ..utils.text import one_line
from .comparisons import Comparison, compare_parts, sweep_scale
from .form_values import FormValues, build_recipe
from .html import render_caption, render_status
from .image_store import ImageStore, strip_paths
from .input_panel import Form
from .output_panel import History, OutputPanel
from .settings import Settings

MAX_HISTORY = 64
"""Number of images in the history of a browser."""

Updates = dict[Block, object]
"""New values, or properties, of components of the page."""

logger = logging.getLogger(__name__)


class Actions:
    """Handlers of the buttons and galleries.

    Names of images come from the browser, so that they are only looked up in the store.
    """

    def __init__(
        self,
        worker: ModelWorker,
        settings: Settings,
        store: ImageStore,
        form: Form,
        output: OutputPanel,
        history: History,
    ) -> None:
        self.worker, self.settings, self.store = worker, settings, store
        self.form, self.output, self.history = form, output, history
        self._cancel_events: dict[str, Event] = {}

    def generate(
        self,
        request: gr.Request,
        history: list[str] | None,
        compared: list[str] | None,
        current: str | None,
        *values: object,
    ) -> Iterator[Updates]:
        """Generate one image and yield its steps and previews.

        Args:
            request: The request, for its session.
            history: Names of the images in the history.
            compared: Names of the images in the comparison; they are deleted, because they are of another image.
            current: Name of the image that is displayed; it is displayed again after an error.
            *values: Values of the form's inputs.
        """
        cancel = self._start(request)
        yield from self._report_errors(self._generate_image(cancel, history or [], compared, values), current)

    def compare(
        self, request: gr.Request, compared: list[str] | None, current: str | None, *values: object
    ) -> Iterator[Updates]:
        """Generate the comparison of the parts of the method.

        Args:
            request: The request, for its session.
            compared: Names of the images in the previous comparison; they are deleted.
            current: Name of the image that is displayed; it is displayed again after an error.
            *values: Values of the form's inputs.
        """
        cancel = self._start(request)
        updates = self._generate_comparison(compare_parts, cancel, compared, current, values)
        yield from self._report_errors(updates, current)

    def sweep(
        self, request: gr.Request, compared: list[str] | None, current: str | None, *values: object
    ) -> Iterator[Updates]:
        """Generate the comparison of scales. Arguments as for `compare`."""
        cancel = self._start(request)
        updates = self._generate_comparison(sweep_scale, cancel, compared, current, values)
        yield from self._report_errors(updates, current)

    def cancel(self, request: gr.Request, current: str | None) -> Updates:
        """Cancel the session's generation at its next step, and display the previous image again."""
        self.end_session(request)
        return {**self._end("Cancelled."), **self._display(current)}

    def end_session(self, request: gr.Request) -> None:
        """Cancel the session's generation."""
        if event := self._cancel_events.pop(str(request.session_hash), None):
            event.set()

    def load_history(self, history: list[str] | None) -> Updates:
        """Display the images of the history that still exist, the newest one large."""
        names = [name for name in history or [] if self.store.find_image(name)]
        return {**self._display_history(names), **self._display(names[0] if names else None)}

    def select_from_history(
        self, names: list[str] | None, compared: list[str] | None, selection: gr.SelectData
    ) -> Updates:
        """Display the selected image of the history, without the comparison, which is of another image."""
        return {**self._remove_comparison(compared), **self.select(names, selection)}

    def select(self, names: list[str] | None, selection: gr.SelectData) -> Updates:
        """Display the selected image of a gallery."""
        index, names = selection.index, names or []
        return self._display(names[index] if isinstance(index, int) and index < len(names) else None)

    def clear_history(self, history: list[str] | None, compared: list[str] | None) -> Updates:
        """Delete the images of the history and of the comparison."""
        self.store.remove_images(history)
        return {**self._remove_comparison(compared), **self._display_history([]), **self._display(None)}

    def _start(self, request: gr.Request) -> Event:
        """Return the event that cancels a new generation; a session has one generation at a time."""
        self.end_session(request)
        return self._cancel_events.setdefault(str(request.session_hash), Event())

    def _generate_image(
        self, cancel: Event, history: list[str], compared: list[str] | None, values: Sequence[object]
    ) -> Iterator[Updates]:
        form, start = self.form, monotonic()
        recipe = build_recipe(FormValues.from_components(values), self.settings, self.store)
        yield {form.status: render_status("Generating …"), form.cancel: gr.update(interactive=True)}
        for event in self.worker.stream([recipe], cancel, previews=self.settings.previews):
            if not isinstance(event, Finished):
                preview: Updates = {self.output.image: event.preview} if event.preview else {}
                # The inversion of a photo comes before the first step.
                status = f"Step {event.step} of {event.num_steps}" if event.step else "Inverting the photo …"
                yield {form.status: render_status(status), **preview}
                continue
            name = self.store.save_image(event.image, strip_paths(event.recipe)).name
            yield {
                **self._display(name),
                **self._display_history(prepend(name, history, MAX_HISTORY)),
                **self._remove_comparison(compared),
                **self._end(f"Generated in {monotonic() - start:.1f} s.", warnings=event.warnings),
                form.seed: str(event.recipe.seed),
            }

    def _generate_comparison(
        self,
        build_comparison: Callable[[Recipe], Comparison],
        cancel: Event,
        compared: list[str] | None,
        current: str | None,
        values: Sequence[object],
    ) -> Iterator[Updates]:
        """Replace the previous comparison, image by image as they are finished, and display one of them large."""
        form, output = self.form, self.output
        form_values = FormValues.from_components(values)
        # The seed of the displayed image, so that the comparison contains that image.
        locked = form_values.locked or bool(form_values.seed.strip())
        recipe = build_recipe(replace(form_values, locked=locked), self.settings, self.store)
        comparison = build_comparison(recipe)
        count = len(comparison.recipes)
        yield {
            form.status: render_status(f"Generating {count} images …"),
            form.cancel: gr.update(interactive=True),
            **self._remove_comparison(compared),
            # The displayed image may be one of those that are deleted.
            **self._display(current),
        }
        paths: list[Path] = []
        warnings: dict[str, None] = {}

        def display_tiles() -> Updates:
            tiles = [(str(path), label) for path, label in zip(paths, comparison.labels, strict=False)]
            return {
                output.comparison: gr.update(value=tiles, visible=True),
                output.compared: [path.name for path in paths],
            }

        for event in self.worker.stream(comparison.recipes, cancel, previews=0):
            if isinstance(event, Finished):
                warnings |= dict.fromkeys(event.warnings)
                paths.append(self.store.save_image(event.image, strip_paths(event.recipe)))
                yield display_tiles()
            else:
                progress = f"Image {event.index + 1} of {count}, step {event.step} of {event.num_steps}"
                yield {form.status: render_status(progress)}
        yield {
            # Again: a slow page may still have been building the gallery when the images came.
            **display_tiles(),
            **self._display(paths[comparison.displayed].name),
            **self._end(f"{count} images from seed {recipe.seed}", warnings=[*warnings]),
            form.seed: str(recipe.seed),
        }

    def _remove_comparison(self, compared: list[str] | None) -> Updates:
        """Delete the images of the comparison and hide it."""
        self.store.remove_images(compared)
        return {self.output.comparison: gr.update(value=[], visible=False), self.output.compared: []}

    def _report_errors(self, updates: Iterator[Updates], current: str | None) -> Iterator[Updates]:
        """Pass the updates on; after an error, report it and display the previous image again."""
        try:
            yield from updates
        except Exception as error:
            message = describe_error(error, self.store)
            yield {**self._end(message, error=not isinstance(error, Cancelled)), **self._display(current)}

    def _end(self, message: str, *, error: bool = False, warnings: Sequence[str] = ()) -> Updates:
        return {
            self.form.status: render_status(message, error=error, warnings=warnings),
            self.form.cancel: gr.update(interactive=False),
        }

    def _display(self, name: str | None) -> Updates:
        """Display the image of this name, or no image if it does not exist."""
        output, path = self.output, self.store.find_image(name)
        recipe = read_recipe(path) if path else None
        return {
            output.image: str(path) if path else None,
            output.caption: render_caption(recipe) if recipe else "",
            output.download: gr.update(value=str(path) if path else None, interactive=bool(path)),
            output.reuse: gr.update(interactive=bool(path)),
            output.recipe: recipe.model_dump(mode="json", exclude_none=True) if recipe else None,
            output.current: name if path else None,
        }

    def _display_history(self, names: list[str]) -> Updates:
        tiles = [str(path) for name in names if (path := self.store.find_image(name))]
        return {
            self.history.names: names,
            self.history.gallery: gr.update(value=tiles, visible=bool(tiles)),
            self.history.heading: gr.update(visible=bool(tiles)),
        }


def prepend(name: str, history: Sequence[str], limit: int) -> list[str]:
    """Return the history with a name in front, each name once, at most `limit` names."""
    return list(dict.fromkeys((name, *history)))[:limit]


def describe_error(error: Exception, store: ImageStore) -> str:
    """Describe an error to the user.

    Args:
        error: An `InstantStyleError` is shown as it is, without the folders of the store. The details of any
            other error go to the log only.
        store: The store whose folders are removed.

    Returns:
        One line.
    """
    if isinstance(error, InstantStyleError):
        return store.strip_folders(one_line(error))
    logger.error("The studio failed.", exc_info=error)
    return "An internal error occurred; see the log of the studio for details."
