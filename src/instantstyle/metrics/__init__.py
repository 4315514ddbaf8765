"""How well a picture does what was asked; each score returns its parts."""

from instantstyle.metrics.judge import Judge, Readings, judge
from instantstyle.metrics.world import Scores, interval, score

__all__ = ["Judge", "Readings", "Scores", "interval", "judge", "score"]
