"""Scores of generated images: style, prompt fidelity and content leakage, each with its parts."""

from .classifier import Predictions, SyntheticClassifier, attribute_labels, load_classifier
from .csd import load_csd
from .encoder_scores import ReferenceScores, TextScores, draw_edges, score_against_reference, score_text
from .encoders import ImageScoreEncoder, load_clip, load_image_encoder
from .look import LookScores, score_consistency, score_look
from .scorers import (
    PixelScorer,
    ReferenceScorer,
    Scorer,
    ScoringCase,
    SyntheticScorer,
    TextScorer,
    compute_scores,
)
from .synthetic_scores import SCORE_TITLES, SyntheticScores, bootstrap_interval, score_synthetic

__all__ = [
    "SCORE_TITLES",
    "ImageScoreEncoder",
    "LookScores",
    "PixelScorer",
    "Predictions",
    "ReferenceScorer",
    "ReferenceScores",
    "Scorer",
    "ScoringCase",
    "SyntheticClassifier",
    "SyntheticScorer",
    "SyntheticScores",
    "TextScorer",
    "TextScores",
    "attribute_labels",
    "bootstrap_interval",
    "compute_scores",
    "draw_edges",
    "load_classifier",
    "load_clip",
    "load_csd",
    "load_image_encoder",
    "score_against_reference",
    "score_consistency",
    "score_look",
    "score_synthetic",
    "score_text",
]
