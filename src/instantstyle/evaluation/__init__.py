"""How strong before the subject leaks, and does it help to take the content out? Arms × scales, measured."""

from .arms import ARMS, arms_of, scales_of
from .point import Point, evaluate

__all__ = ["ARMS", "Point", "arms_of", "evaluate", "scales_of"]
