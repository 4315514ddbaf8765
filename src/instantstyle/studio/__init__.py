"""The studio: one page in the browser. Translates to and from `Recipe`, no more.

Nothing here needs Gradio until `studio` is called.
"""

from collections.abc import Callable

from .settings import Settings, check_exposure

__all__ = ["Settings", "check_exposure", "studio"]


def studio(settings: Settings, on_open: Callable[[str], None] | None = None) -> None:
    """Load the model, open the page, and serve it until told to stop; `on_open` is told its address.

    `MissingExtra` where Gradio is not installed.
    """
    check_exposure(settings)
    try:
        import gradio
    except ModuleNotFoundError as absent:
        from ..errors import MissingExtra

        raise MissingExtra(
            f"The studio needs {absent.name}, which is not installed: pip install 'instantstyle[studio]'"
        ) from None
    del gradio
    from .easel import Easel
    from .page import opened

    page = opened(Easel.loaded(settings))
    if on_open:
        on_open(str(page.local_url))
    page.block_thread()
