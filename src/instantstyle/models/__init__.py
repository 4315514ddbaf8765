"""Models by name: cards that say what each is made of, and `load`, which makes one ready."""

from .image_to_image import from_picture
from .load import load
from .registry import CARDS, Card

__all__ = ["CARDS", "Card", "from_picture", "load"]
