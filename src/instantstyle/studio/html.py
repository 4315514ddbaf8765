"""What the page says in words, as HTML: everything that a person typed is escaped."""

from html import escape

from ..recipe import Recipe
from .image_store import shown


def status(text: str = "", *, fault: bool = False) -> str:
    """One line under the button; read out by screen readers when it changes."""
    kind = "alert" if fault else "status"
    return f'<p role="{kind}" class="{kind}">{escape(text)}</p>' if text else ""


def caption(recipe: Recipe) -> str:
    """What made a picture, in one line."""
    return f"<p><strong>{escape(recipe.prompt or '…')}</strong> {escape(' · '.join(_told(recipe)))}</p>"


def _told(recipe: Recipe) -> list[str]:
    told = [f"seed {recipe.seed}"]
    if recipe.references:
        names = " + ".join(shown(reference.name) for reference in recipe.references)
        less = f" − {', '.join(recipe.content)}" if recipe.content else ""
        blocks = recipe.blocks if isinstance(recipe.blocks, str) else "chosen blocks"
        told += [f"{names}{less}", f"{blocks} × {recipe.scale:g}"]
    return [*told, f"{recipe.num_inference_steps} steps", f"{recipe.width} × {recipe.height}"]
