"""How well a picture does what was asked; each score returns its parts."""

from .classifier import Judge, Readings, facts_of, judge
from .csd import open_csd
from .encoder_scores import SightScores, WordScores, edge_drawing, sight, words
from .encoders import Tower, open_pair, open_tower
from .look import LookScores, consistency, look
from .scorers import ByPixels, BySight, ByWords, Case, InWorld, Scorer, all_scores
from .synthetic_scores import Scores, interval, score

__all__ = [
    "ByPixels",
    "BySight",
    "ByWords",
    "Case",
    "InWorld",
    "Judge",
    "LookScores",
    "Readings",
    "Scorer",
    "Scores",
    "SightScores",
    "Tower",
    "WordScores",
    "all_scores",
    "consistency",
    "edge_drawing",
    "facts_of",
    "interval",
    "judge",
    "look",
    "open_csd",
    "open_pair",
    "open_tower",
    "score",
    "sight",
    "words",
]
