"""A point of an evaluation: the mean scores of an arm at a scale, with intervals over references."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..metrics import bootstrap_interval
from ..utils.result_journal import ResultJournal
from .arms import Setting
from .experiment import Experiment, scores_by_reference


@dataclass(frozen=True)
class Point:
    """The results of an arm at a scale.

    Attributes:
        setting: The arm and the scale.
        scores: Mean over images and the two ends of its 95 % bootstrap interval over references, by name of
            the score.
        styles: Number of references; fewer than in the experiment if the arm needs known content.
    """

    setting: Setting
    scores: Mapping[str, tuple[float, float, float]]
    styles: int

    @property
    def title(self) -> str:
        """The name of the arm with its scale."""
        name, scale = self.setting.arm.name, self.setting.scale
        return name if scale is None else f"{name}, scale {scale:g}"


def compute_point(experiment: Experiment, journal: ResultJournal, setting: Setting) -> Point:
    """Compute the means and intervals of one arm at one scale.

    Args:
        experiment: The experiment.
        journal: Its journal, with all cells of the arm at the scale.
        setting: The arm and the scale.

    Returns:
        The point.
    """
    arm = setting.scaled_arm
    cells = [journal.cells[experiment.cell_key(arm, number)] for _, number in experiment.cells([arm])]
    scores = {}
    for name in dict.fromkeys(name for cell in cells for name in cell):
        by_reference = scores_by_reference(experiment, journal, arm, name)
        values = torch.tensor([value for row in by_reference.values() for value in row])
        groups = torch.tensor([number for number, row in by_reference.items() for _ in row])
        scores[name] = (values.mean().item(), *bootstrap_interval(values, groups))
    return Point(setting, scores, len(cells))
