"""Event handlers that fill the form: content suggestions, saved styles, restored settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Concatenate, ParamSpec

import gradio as gr

from ..core.style_library import SUFFIX, add, list_names, normalize_style_name
from ..errors import InstantStyleError, JobError
from ..generation.worker import ModelWorker
from ..imaging.loading import open_reference
from ..imaging.png_metadata import read_recipe
from ..recipe_types import Reference
from ..synthetic.vocabulary import list_thing_phrases
from .actions import Updates, describe_error
from .content_suggestions import find_closest_phrases
from .example_reference import EXAMPLE_PROMPT, store_example
from .form_values import (
    IMAGE,
    MIX,
    RESTORED,
    RESTORED_BLOCKS,
    SAVED,
    UPLOAD_FIELDS,
    FormValues,
    UploadedFile,
    build_recipe,
)
from .html import render_library_hint, render_status
from .image_store import ImageStore
from .input_panel import NUM_SUGGESTIONS, SOURCES, Form
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


class FormEvents:
    """Handlers that fill fields of the form. None of them generates an image."""

    def __init__(self, worker: ModelWorker, settings: Settings, store: ImageStore, form: Form) -> None:
        self.worker, self.settings, self.store, self.form = worker, settings, store, form

    @report_errors
    def suggest_content(self, uploaded: UploadedFile | None, *blocks: str) -> Updates:
        """Suggest phrases for the content of a new reference, and clear what belongs to the previous one.

        There are suggestions for the bundled model only.
        """
        suggestions: dict[str, float] = {}
        if uploaded:
            reference = self.store.add_reference(Path(uploaded["path"]), uploaded.get("orig_name"))
            suggestions = self._find_suggestions(reference)
        return {
            self.form.status: "",
            **self._forget_style(*blocks),
            **self._show_suggestions(suggestions),
            self.form.example: gr.update(visible=not uploaded),
        }

    @report_errors
    def show_example(self, *blocks: str) -> Updates:
        """Fill the empty form with a reference, its content and a prompt."""
        form, (reference, content) = self.form, store_example(self.store)
        suggestions = self._find_suggestions(reference)
        return {
            form.status: "",
            form.image: reference.name,
            form.prompt: EXAMPLE_PROMPT,
            **self._forget_style(*blocks),
            **self._show_suggestions(suggestions, [content]),
            form.example: gr.update(visible=False),
        }

    def show_source(self, source: str) -> Updates:
        """Show the components of the selected source, and hide those of the others."""
        groups = {group: gr.update(visible=name == source) for name, group in self.form.source_groups.items()}
        hint = gr.update(value=render_library_hint(list_names()), visible=source in (SAVED, MIX))
        return {**groups, self.form.library_hint: hint}

    def switch_source(self, source: str, *blocks: str) -> Updates:
        """Show the source that the user selected, and clear what belongs to the previous one."""
        return {
            self.form.status: "",
            **self.refresh_library(),
            **self.show_source(source),
            **self._forget_style(*blocks),
            self.form.source: gr.update(choices=SOURCES, value=source),
            **self._show_suggestions({}),
        }

    def switch_style(self, *blocks: str) -> Updates:
        """Clear what belongs to the saved style that was selected before."""
        return {self.form.status: "", **self._forget_style(*blocks), **self._show_suggestions({})}

    def show_quantile(self, removal: str) -> Updates:
        """Show the quantile of the mask with the removal that has one."""
        return {self.form.mask_quantile: gr.update(visible=removal == "mask")}

    @report_errors
    def suggest_content_again(self, source: str, uploaded: UploadedFile | None, content: list[str] | None) -> Updates:
        """Suggest the content of a reference that the user returns to or has restored, and keep its content."""
        if source != IMAGE or not uploaded:
            return {}
        reference = self.store.add_reference(Path(uploaded["path"]), uploaded.get("orig_name"))
        return self._show_suggestions(self._find_suggestions(reference), content or ())

    @report_errors
    def save_style(self, name: str, *values: object) -> Updates:
        """Save the style of the form in the library.

        Args:
            name: Name of the style in the library.
            *values: Values of the form's inputs.
        """
        if not name.strip():
            raise JobError("A style needs a name to be saved, such as ink.")
        name = normalize_style_name(name)
        if name in list_names():
            raise JobError(f"There is a saved style {name} already; choose another name.")
        recipe = build_recipe(FormValues.from_components(values), self.settings, self.store)
        if not recipe.references:
            raise JobError("There is no style to save; drop an image, or select a saved style.")
        style = self.worker.build_style(recipe, keep_grey=True)
        with TemporaryDirectory(prefix="instantstyle-", ignore_cleanup_errors=True) as folder:
            add(replace(style, name=name).save(Path(folder, f"style{SUFFIX}")), name)
        message = f"{name} is saved: {style!r}"
        return {self.form.status: render_status(message), self.form.style_name: "", **self.refresh_library()}

    def refresh_library(self) -> Updates:
        """Show the styles that the library contains."""
        form, library = self.form, list_names()
        return {
            form.saved: gr.update(choices=library),
            form.first: gr.update(choices=library),
            form.second: gr.update(choices=library),
            form.library_hint: gr.update(value=render_library_hint(library)),
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
        uploads = {name: each["path"] if each else None for name in UPLOAD_FIELDS for each in [getattr(values, name)]}
        choices = [*SOURCES, ("As in the image", RESTORED)] if values.source == RESTORED else SOURCES
        return {
            **{getattr(form, name): value for name, value in {**vars(values), **uploads}.items()},
            **self._show_suggestions({}, values.content),
            form.source: gr.update(choices=choices, value=values.source),
            form.example: gr.update(visible=not values.image),
            **self.show_source(values.source),
            form.status: render_status("The settings of the image are restored.", warnings=restored.remarks),
        }

    def _find_suggestions(self, reference: Reference) -> dict[str, float]:
        """Find phrases for the content of a reference; none for other models than the bundled one."""
        styled = self.worker.styled
        if self.settings.model != "mini" or styled.text_encoder is None:
            return {}
        return self.worker.run(find_closest_phrases, styled, open_reference(reference.name), NUM_SUGGESTIONS)

    def _forget_style(self, *blocks: str) -> Updates:
        """Drop what belongs to another style.

        That is the restored recipe, the blocks that stand for those of that recipe, and the image of the content.

        Args:
            *blocks: The blocks of the style, those of a second adapter, and those of Redux.
        """
        defaults = {self.form.blocks: "style", self.form.second_blocks: "all", self.form.redux_blocks: "all"}
        kept = {
            component: default if value == RESTORED_BLOCKS else value
            for (component, default), value in zip(defaults.items(), blocks, strict=False)
        }
        return {self.form.restored_recipe: None, **kept, self.form.content_image: None}

    def _show_suggestions(self, suggestions: Mapping[str, float], content: Sequence[str] = ()) -> Updates:
        """Show suggestions with their similarities and the content, and offer all known phrases as content."""
        known = list_thing_phrases() if self.settings.model == "mini" else []
        choices = [(f"{phrase} {similarity:.2f}", phrase) for phrase, similarity in suggestions.items()]
        selected = [*content]
        return {
            self.form.content: gr.update(choices=[*dict.fromkeys([*suggestions, *known])], value=selected),
            self.form.suggestions: gr.update(choices=choices, value=selected, visible=bool(choices)),
        }
