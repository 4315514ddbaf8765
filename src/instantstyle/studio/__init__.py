"""The studio: a page in the browser that translates between its fields and `Recipe`.

Importing this package does not import Gradio; `run_studio` does.
"""

from collections.abc import Callable

from .settings import Settings, validate_settings

__all__ = ["Settings", "run_studio", "validate_settings"]


def run_studio(settings: Settings, on_open: Callable[[str], None] | None = None) -> None:
    """Load the model and serve the page until the process is interrupted; then finish a running generation.

    Args:
        settings: Model, address and files of the studio.
        on_open: Called with the address of the page once it is served.

    Raises:
        JobError: The settings expose the studio without a sufficient password, or the port is in use.
        MissingExtra: Gradio, or the package of the scheduler, is not installed.
        ModelError: There is no such scheduler, or the model cannot be loaded.
        StyleError: The settings name weights of FLUX.1 Redux, and the model is another one.
    """
    validate_settings(settings)
    try:
        import gradio
    except ModuleNotFoundError as error:
        from ..utils.missing_package import missing_package_error

        raise missing_package_error(f"The studio needs {error.name}", "instantstyle[studio]") from None
    del gradio
    from ..generation.model_parts import ModelParts
    from ..generation.worker import ModelWorker
    from ..models.redux_files import check_redux, takes_redux
    from ..models.schedulers import validate_scheduler
    from .page import launch_page

    if settings.scheduler is not None:
        validate_scheduler(settings.scheduler)
    if settings.redux_model is not None:
        check_redux(settings.model, settings.redux_model, settings.redux_image_encoder)
    parts, with_redux = ModelParts.of(settings), takes_redux(settings.model)
    worker = ModelWorker.load(parts, device=settings.device, loras=settings.loras, with_redux=with_redux)
    try:
        page = launch_page(worker, settings)
        if on_open:
            on_open(str(page.local_url))
        page.block_thread()
    finally:
        # The worker's thread is a daemon: without this, a running generation would be lost.
        worker.close()
