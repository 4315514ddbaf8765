"""How well a picture does what was asked; each score returns its parts."""

from .classifier import Readings, SyntheticClassifier, facts_of, judge
from .csd import open_csd
from .encoder_scores import SightScores, WordScores, edge_drawing, sight, words
from .encoders import ImageScoreEncoder, open_pair, open_tower
from .look import LookScores, consistency, look
from .scorers import ByPixels, BySight, ByWords, Case, InWorld, Scorer, all_scores
from .synthetic_scores import Scores, interval, score

__all__ = [
    "ByPixels",
    "BySight",
    "ByWords",
    "Case",
    "ImageScoreEncoder",
    "InWorld",
    "LookScores",
    "Readings",
    "Scorer",
    "Scores",
    "SightScores",
    "SyntheticClassifier",
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
