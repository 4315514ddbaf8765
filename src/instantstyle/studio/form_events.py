"""Event handlers that fill the form: content suggestions, saved styles, restored settings."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Concatenate, ParamSpec

import gradio as gr

from ..core.style_library import SUFFIX, add, list_names
from ..errors import InstantStyleError, JobError
from ..generation.worker import ModelWorker
from ..imaging.loading import open_reference
from ..imaging.png_metadata import read_recipe
from ..synthetic.vocabulary import list_thing_phrases
from .actions import Updates, describe_error
from .content_suggestions import find_closest_phrases
from .form_values import RESTORED, FormValues, UploadedFile, build_recipe
from .html import render_status
from .image_store import ImageStore
from .input_panel import NUM_SUGGESTIONS, SOURCES, Form, describe_empty_library
from .restore_settings import restore_form
from .settings import Settings

P = ParamSpec("P")


def report_errors(
    handler: Callable[Concatenate["FormEvents", P], Updates],
) -> Callable[Concatenate["FormEvents", P], Updates]:
    """Decorate a handler so that its errors are shown in the status line."""

    @wraps(handler)
    def wrapper(self: "FormEvents", *args: P.args, **kwargs: P.kwargs) -> Updates:
        try:
            return handler(self, *args, **kwargs)
        except Exception as error:
            return {self.form.status: render_status(describe_error(error, self.store), error=True)}

    return wrapper


def toggle_phrase(phrase: str, content: list[str] | None) -> list[str]:
    """Add a phrase to the content, or remove it if it is there already."""
    content = content or []
    return [word for word in content if word != phrase] if phrase in content else [*content, phrase]


class FormEvents:
    """Handlers that fill fields of the form. None of them generates an image."""

    def __init__(self, worker: ModelWorker, settings: Settings, store: ImageStore, form: Form) -> None:
        self.worker, self.settings, self.store, self.form = worker, settings, store, form

    @report_errors
    def suggest_content(self, uploaded: UploadedFile | None) -> Updates:
        """Suggest phrases for the content of a new reference, and clear the content of the previous one.

        There are suggestions for the bundled model only.
        """
        form = self.form
        suggestions: list[str] = []
        if uploaded:
            reference = self.store.add_reference(Path(uploaded["path"]), uploaded.get("orig_name"))
            styled = self.worker.styled
            if self.settings.model == "mini" and styled.text_encoder is not None:
                image = open_reference(reference.name)
                suggestions = self.worker.run(find_closest_phrases, styled, image, NUM_SUGGESTIONS)
        return {form.status: "", form.restored_recipe: None, **self._show_suggestions(suggestions)}

    def show_source(self, source: str) -> Updates:
        """Show the components of the selected source, and hide those of the others."""
        return {group: gr.update(visible=name == source) for name, group in self.form.source_groups.items()}

    @report_errors
    def save_style(self, name: str, *values: object) -> Updates:
        """Save the style of the form in the library.

        Args:
            name: Name of the style in the library.
            *values: Values of the form's inputs.
        """
        name = name.strip()
        if not name:
            raise JobError("A style needs a name to be saved, such as ink.")
        if name in list_names():
            raise JobError(f"There is a saved style {name} already; choose another name.")
        recipe = build_recipe(FormValues.from_components(values), self.settings, self.store)
        if not recipe.references:
            raise JobError("There is no style to save; drop an image, or select a saved style.")
        style = self.worker.build_style(recipe)
        with TemporaryDirectory(prefix="instantstyle-") as folder:
            add(replace(style, name=name).save(Path(folder, f"style{SUFFIX}")), name)
        return {self.form.status: render_status(f"{name} is saved: {style!r}"), **self.refresh_library()}

    def refresh_library(self) -> Updates:
        """Show the styles that the library contains."""
        form, library = self.form, list_names()
        return {
            form.saved: gr.update(choices=library, info=describe_empty_library(library)),
            form.first: gr.update(choices=library),
            form.second: gr.update(choices=library),
        }

    @report_errors
    def restore_from_upload(self, uploaded: UploadedFile | None) -> Updates:
        """Restore the settings from an uploaded image."""
        if not uploaded:
            return {}
        path = Path(uploaded["path"])
        try:
            return self._restore_settings(path)
        except InstantStyleError as error:
            # The user knows the file by its original name.
            raise JobError(str(error).replace(str(path), uploaded.get("orig_name") or path.name)) from None

    @report_errors
    def restore_from_current(self, current: str | None) -> Updates:
        """Restore the settings from the image that is displayed."""
        path = self.store.find_image(current)
        if path is None:
            raise JobError("No image is displayed whose settings could be used.")
        return self._restore_settings(path)

    def _restore_settings(self, path: Path) -> Updates:
        restored = restore_form(read_recipe(path), self.settings, self.store)
        form, values = self.form, restored.values
        choices = [*SOURCES, ("As in the image", RESTORED)] if values.source == RESTORED else SOURCES
        message = "; ".join(["The settings of the image are restored", *restored.remarks])
        return {
            **{getattr(form, name): value for name, value in vars(values).items()},
            **self._show_suggestions([]),
            form.content: list(values.content),
            form.source: gr.update(choices=choices, value=values.source),
            form.image: values.image["path"] if values.image else None,
            **self.show_source(values.source),
            form.status: render_status(message, error=bool(restored.remarks)),
        }

    def _show_suggestions(self, suggestions: list[str]) -> Updates:
        """Show suggestions on the buttons, and offer all known phrases in the empty field for content."""
        texts = [*suggestions, *[""] * NUM_SUGGESTIONS][:NUM_SUGGESTIONS]
        updates: Updates = {
            button: gr.update(value=text, visible=bool(text))
            for button, text in zip(self.form.suggestions, texts, strict=True)
        }
        known = list_thing_phrases() if self.settings.model == "mini" else []
        choices = list(dict.fromkeys([*suggestions, *known]))
        return {**updates, self.form.content: gr.update(choices=choices, value=[])}
