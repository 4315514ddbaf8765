"""Models by name: the registry, and `load`, which makes a model ready."""

from .image_to_image import image_to_image_pipeline
from .load import load
from .registry import CARDS, ModelCard

__all__ = ["CARDS", "ModelCard", "image_to_image_pipeline", "load"]
