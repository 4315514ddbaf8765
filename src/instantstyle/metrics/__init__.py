"""How well a picture does what was asked; each score returns its parts."""

from .judge import Judge, Readings, facts_of, judge
from .world import Scores, interval, score

__all__ = ["Judge", "Readings", "Scores", "facts_of", "interval", "judge", "score"]
