"""HTML fragments of the page. The templates escape every inserted value."""

from collections.abc import Sequence

from .. import __version__
from ..recipe import Recipe
from ..utils.html import render
from .image_store import display_name


def render_masthead(model: str, device: str) -> str:
    """Render the heading of the page with the model, its device and the version of this package."""
    return render("studio/templates/masthead.html.jinja", model=model, device=device, version=__version__)


def render_status(text: str = "", *, error: bool = False, warnings: Sequence[str] = ()) -> str:
    """Render the status line below the buttons.

    Args:
        text: The message; an empty one gives no element.
        error: Whether the message reports an error. Screen readers announce errors and warnings at once (role
            `alert`), other messages when they are idle (role `status`).
        warnings: What the user should know beside the message; set off from it as a list.

    Returns:
        The HTML, or an empty string.
    """
    role = "alert" if error else "status"
    return render("studio/templates/status.html.jinja", role=role, text=text, warnings=warnings).strip()


def render_library_hint(library: Sequence[str]) -> str:
    """Render a hint in place of the lists of saved styles if there are none to select; else an empty string."""
    return render_status("" if library else "No style is saved yet; drop an image, and save its style.")


def render_caption(recipe: Recipe) -> str:
    """Render the caption of an image: its prompt and the main settings of its recipe, in one line."""
    details = [f"seed {recipe.seed}"]
    if recipe.references:
        names = " + ".join(display_name(reference.name) for reference in recipe.references)
        removed = f" − {', '.join(recipe.content)}" if recipe.content else ""
        blocks = recipe.blocks if isinstance(recipe.blocks, str) else "selected blocks"
        details += [f"{names}{removed}", f"{blocks} × {recipe.scale:g}"]
    if recipe.redux_references:
        names = " + ".join(display_name(reference.name) for reference in recipe.redux_references)
        details.append(f"{names} beside the prompt × {recipe.redux_scale:g}")
    details += [f"{recipe.num_inference_steps} steps", f"{recipe.width} × {recipe.height}"]
    return render("studio/templates/caption.html.jinja", prompt=recipe.prompt or "…", details=details)
