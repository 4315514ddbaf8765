"""HTML fragments of the page. The templates escape every inserted value."""

from .. import __version__
from ..recipe import Recipe
from ..utils.html import render
from .image_store import display_name


def render_masthead(model: str, device: str) -> str:
    """Render the heading of the page with the model, its device and the version of this package."""
    return render("studio/templates/masthead.html.jinja", model=model, device=device, version=__version__)


def render_status(text: str = "", *, error: bool = False) -> str:
    """Render the status line below the buttons.

    Args:
        text: The message; an empty one gives no element.
        error: Whether the message reports an error. Screen readers announce errors at once (role `alert`),
            other messages when they are idle (role `status`).

    Returns:
        The HTML, or an empty string.
    """
    role = "alert" if error else "status"
    return render("studio/templates/status.html.jinja", role=role, text=text) if text else ""


def render_caption(recipe: Recipe) -> str:
    """Render the caption of an image: its prompt and the main settings of its recipe, in one line."""
    details = [f"seed {recipe.seed}"]
    if recipe.references:
        names = " + ".join(display_name(reference.name) for reference in recipe.references)
        removed = f" − {', '.join(recipe.content)}" if recipe.content else ""
        blocks = recipe.blocks if isinstance(recipe.blocks, str) else "selected blocks"
        details += [f"{names}{removed}", f"{blocks} × {recipe.scale:g}"]
    details += [f"{recipe.num_inference_steps} steps", f"{recipe.width} × {recipe.height}"]
    return render("studio/templates/caption.html.jinja", prompt=recipe.prompt or "…", details=details)
