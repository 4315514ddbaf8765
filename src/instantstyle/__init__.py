"""InstantStyle on diffusers: generate in the style of a reference image without its content.

styled = instantstyle.load("mini")
ink = styled.style("ink.png", content="a cat")
styled("a rocket", style=ink).save("rocket.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import (
    BlockError,
    CheckpointError,
    ImageError,
    InstantStyleError,
    JobError,
    MissingExtra,
    ModelError,
    StyleError,
)

if TYPE_CHECKING:
    from .core.conditioning import StyleConditioning
    from .core.inversion import Inversion
    from .core.lora_style import LoraStyle
    from .core.pipeline import InstantStyle
    from .core.redux_style import ReduxStyle
    from .core.shared_attention import SharedAttention
    from .core.style import Style
    from .models import load
    from .recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "BlockError",
    "CheckpointError",
    "ImageError",
    "InstantStyle",
    "InstantStyleError",
    "Inversion",
    "JobError",
    "LoraStyle",
    "MissingExtra",
    "ModelError",
    "Recipe",
    "ReduxStyle",
    "SharedAttention",
    "Style",
    "StyleConditioning",
    "StyleError",
    "__version__",
    "load",
]

# Imported on first access: importing this package must not take the seconds that torch and diffusers need.
_LAZY = {
    "InstantStyle": ".core.pipeline",
    "Style": ".core.style",
    "StyleConditioning": ".core.conditioning",
    "Inversion": ".core.inversion",
    "LoraStyle": ".core.lora_style",
    "ReduxStyle": ".core.redux_style",
    "SharedAttention": ".core.shared_attention",
    "Recipe": ".recipe",
    "load": ".models",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
