"""What fills the page in: proposals for what a reference shows, saved styles, a picture's settings."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from ..core.style_library import SUFFIX, add, list_names
from ..errors import InstantStyleError, JobError
from ..imaging.loading import open_reference
from ..imaging.png_metadata import read_recipe
from ..synthetic.vocabulary import phrases
from .actions import in_words
from .easel import Easel
from .form_values import RESTORED, FormValues, recipe_for
from .html import status
from .image_store import ImageStore
from .input_panel import HINTS, SOURCES, Form, of_library
from .restore_settings import restored

Change = dict[Any, Any]
"""What changes on the page, by component."""


def told(fill: Callable[..., Change]) -> Callable[..., Change]:
    """Whatever goes wrong is told in words."""

    @wraps(fill)
    def filled(self: "FormEvents", *values: Any) -> Change:
        try:
            return fill(self, *values)
        except Exception as fault:
            return {self.form.status: status(in_words(fault, self.keep), fault=True)}

    return filled


def toggled(phrase: str, content: Any) -> Any:
    """A proposal is taken, or left again."""
    taken = list(content or [])
    return [one for one in taken if one != phrase] if phrase in taken else [*taken, phrase]


class FormEvents:
    """Nothing here draws."""

    def __init__(self, easel: Easel, keep: ImageStore, form: Form) -> None:
        self.easel, self.keep, self.form = easel, keep, form

    @told
    def seen(self, sent: Any) -> Change:
        """A new reference: what it may show; what the one before it showed is of no account any more."""
        form = self.form
        emptied = {form.status: "", form.rest: None, **self._proposed([])}
        if not sent:
            return emptied
        reference = self.keep.reference(Path(sent["path"]), sent.get("orig_name"))
        return {**emptied, **self._proposed(self.easel.shows(open_reference(reference.name), HINTS))}

    def placed(self, source: str) -> Change:
        """What belongs to the source is shown."""
        return {place: gr.update(visible=name == source) for name, place in self.form.places.items()}

    @told
    def saved(self, name: str, *values: Any) -> Change:
        """The style that the page describes, in the library from now on."""
        form, asked = self.form, FormValues.of(values)
        if not name.strip():
            raise JobError("A style needs a name to be saved under, such as ink.")
        if name.strip() in list_names():
            raise JobError(f"{name.strip()} is saved already; choose another name.")
        style = self.easel.style(recipe_for(asked, self.easel.settings, self.keep))
        with TemporaryDirectory(prefix="instantstyle-") as folder:
            draft = replace(style, name=name.strip()).save(Path(folder, f"style{SUFFIX}"))
            add(draft, name.strip())
        return {form.status: status(f"{name.strip()} is saved: {style!r}"), **self.listed()}

    def listed(self) -> Change:
        """The styles that there are now."""
        form, library = self.form, list_names()
        return {
            form.saved: gr.update(choices=library, info=of_library(library)),
            form.first: gr.update(choices=library),
            form.second: gr.update(choices=library),
        }

    @told
    def given_back(self, made: Any) -> Change:
        """The settings of a picture that was dropped."""
        if not made:
            return {}
        path = Path(made["path"])
        try:
            return self._settings_in(path)
        except InstantStyleError as fault:
            # By the name that its owner knows.
            raise JobError(str(fault).replace(str(path), made.get("orig_name") or path.name)) from None

    @told
    def again(self, current: Any) -> Change:
        """The settings of the picture that is shown."""
        path = self.keep.picture(current)
        if path is None:
            raise JobError("No picture is shown whose settings could be used.")
        return self._settings_in(path)

    def _settings_in(self, path: Path) -> Change:
        back = restored(read_recipe(path), self.easel.settings, self.keep)
        asked, form = back.asked, self.form
        plain = {name: getattr(asked, name) for name in form.by_name if name not in ("source", "picture")}
        more = [("As in the picture", RESTORED)] if asked.source == RESTORED else []
        words = "; ".join(["The picture's settings are back", *back.remarks])
        return {
            **{form.by_name[name]: value for name, value in plain.items()},
            **self._proposed([]),
            form.content: list(asked.content or ()),
            form.source: gr.update(choices=[*SOURCES, *more], value=asked.source),
            form.picture: asked.picture["path"] if asked.picture else None,
            **self.placed(asked.source),
            form.status: status(words, fault=bool(back.remarks)),
        }

    def _proposed(self, words: list[str]) -> Change:
        places = zip(self.form.hints, [*words, *[""] * HINTS], strict=False)
        buttons = {button: gr.update(value=word, visible=bool(word)) for button, word in places}
        others = phrases() if self.easel.settings.model == "mini" else []
        choices = list(dict.fromkeys([*words, *others]))
        return {**buttons, self.form.content: gr.update(choices=choices, value=[])}
