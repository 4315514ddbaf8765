"""Models by name: cards that say what each is made of, and `load`, which makes one ready."""

from .image_to_image import image_to_image_pipeline
from .load import load
from .registry import CARDS, Card

__all__ = ["CARDS", "Card", "image_to_image_pipeline", "load"]
