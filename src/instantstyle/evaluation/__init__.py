"""Compare arms: how much style and content leakage each brings at several scales; and probe blocks."""

from .arms import ARMS, parse_scales, select_arms
from .evaluate import evaluate
from .point import Point

__all__ = ["ARMS", "Point", "evaluate", "parse_scales", "select_arms"]
