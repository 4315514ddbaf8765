"""Compare arms: how much style and content leakage each brings at several scales; and probe blocks."""

from .arms import ARMS, describe_left_out, parse_scales, select_arms
from .evaluate import evaluate
from .point import Point

__all__ = ["ARMS", "Point", "describe_left_out", "evaluate", "parse_scales", "select_arms"]
