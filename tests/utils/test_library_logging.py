"""What diffusers and transformers print is hidden inside a block, and as it was afterwards."""

from contextlib import suppress
from typing import Any

import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from instantstyle.utils.library_logging import hide_progress_bars, hide_warnings

LIBRARIES: tuple[Any, Any] = (diffusers_logging, transformers_logging)


def are_enabled() -> list[bool]:
    return [library.is_progress_bar_enabled() for library in LIBRARIES]


def test_progress_bars_are_hidden_and_those_that_were_shown_are_shown_again():
    was = are_enabled()
    try:
        diffusers_logging.enable_progress_bar()
        transformers_logging.disable_progress_bar()
        with suppress(OSError), hide_progress_bars():
            assert are_enabled() == [False, False]
            raise OSError("no model")
        assert are_enabled() == [True, False]
    finally:
        for library, is_enabled in zip(LIBRARIES, was, strict=True):
            (library.enable_progress_bar if is_enabled else library.disable_progress_bar)()


@pytest.mark.parametrize("library", LIBRARIES, ids=["diffusers", "transformers"])
def test_warnings_are_hidden_and_the_verbosity_is_restored(library: Any):
    before = library.get_verbosity()
    with hide_warnings(library):
        assert library.get_verbosity() == library.ERROR
    assert library.get_verbosity() == before != library.ERROR
