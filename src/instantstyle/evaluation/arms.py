"""The arms that are compared, and the scales at which each of them is generated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan

from ..core.content_removal import CONTENT_SCALES
from ..errors import BlockError, JobError, suggest_nearest
from ..generation.sweep_axis import SweepAxis
from ..recipe_types import WORDLESS
from ..unet.architectures import Architecture
from ..unet.modes import MODES
from ..utils.text import shorten
from .experiment import NO_REFERENCE, Arm

ARMS = {
    "none": NO_REFERENCE,
    "all": Arm("all blocks", {"blocks": "all"}),
    "style": Arm("style blocks", {"blocks": "style"}),
    "removed": Arm("style blocks, content removed", {"blocks": "style"}, content=True),
    "style+layout": Arm("style and layout blocks", {"blocks": "style+layout"}),
}
"""Arms by their name on the command line. `none` is part of every evaluation."""

_BLOCKS = {"all": "all blocks", "style": "style blocks"}

REMOVAL_ARMS = {
    **{
        f"{blocks}-{removal}": Arm(
            f"{title}, {removal}", {"blocks": blocks, "removal": removal}, content=removal not in WORDLESS
        )
        for blocks, title in _BLOCKS.items()
        for removal in CONTENT_SCALES
    },
    **{
        f"{blocks}-negative": Arm(f"{title}, away from the next", {"blocks": blocks}, negative=True)
        for blocks, title in _BLOCKS.items()
    },
    "precise-style": Arm("style blocks, away from the layout", {"blocks": "precise-style"}),
}
"""Every method against content leakage, by its name on the command line: the removals; another reference
or the reference's own layout as the negative style."""

METHOD_ARMS = {
    f"{blocks}-{name}": Arm(f"{title}, {described}", {"blocks": blocks, **arguments})
    for blocks, title in _BLOCKS.items()
    for name, described, arguments in (
        ("adain", "AdaIN", {"fuse": "adain"}),
        ("held", "layout held", {"hold_layout": 0.4}),
    )
}
"""StyleStudio's two methods, in all blocks and in the style blocks, by their name on the command line."""

GROUPS = {"cures": [*_BLOCKS, *REMOVAL_ARMS], "methods": [*_BLOCKS, *METHOD_ARMS]}
"""Names that stand for several arms: `cures` for all methods against leakage and `methods` for the other methods,
beside the arms that they improve on."""

SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
"""Scales of an evaluation by default."""


@dataclass(frozen=True)
class Setting:
    """An arm at a scale, which is None for an arm without a reference."""

    arm: Arm
    scale: float | None

    @property
    def scaled_arm(self) -> Arm:
        """The arm with the scale in its arguments and in its name."""
        if self.scale is None:
            return self.arm
        arguments = {**self.arm.arguments, "scale": self.scale}
        return replace(self.arm, name=f"{self.arm.name} at {self.scale:g}", arguments=arguments)


def select_arms(
    names: Sequence[str] | None,
    architecture: Architecture,
    contents: Sequence[str | None],
    guidance: float | None = None,
) -> list[Arm]:
    """Select arms by name.

    Args:
        names: Names of `ARMS`, `REMOVAL_ARMS` and `GROUPS`. None: all of `ARMS` that can be generated. Of a
            group, too, only the arms that can be generated are selected.
        architecture: Architecture of the network, whose roles the arms use.
        contents: Words for what each reference shows, or None.
        guidance: Guidance scale of the images; None if it is the pipeline's own, which is taken to be above 1.

    Returns:
        The arms, with `NO_REFERENCE` first.

    Raises:
        JobError: A name is unknown, or the references lack what a named arm needs.
        BlockError: The network lacks a role that a named arm uses.
    """
    find_obstacle = partial(_find_obstacle, architecture=architecture, contents=contents, guidance=guidance)
    if names is None:
        return [arm for arm in ARMS.values() if find_obstacle(arm) is None]
    known = {**ARMS, **REMOVAL_ARMS, **METHOD_ARMS}
    for name in names:
        if name not in known and name not in GROUPS:
            legal = [*known, *GROUPS]
            nearest = suggest_nearest(name, legal)
            raise JobError(f"There is no arm {shorten(name)}; there are {', '.join(legal)}.{nearest}")
        if name in known and (obstacle := find_obstacle(known[name])):
            raise type(obstacle)(f"There can be no arm {name!r}: {obstacle}")
    grouped = {name for group in names for name in GROUPS.get(group, ()) if find_obstacle(known[name]) is None}
    return [arm for name, arm in known.items() if name in ("none", *names) or name in grouped]


def describe_left_out(
    names: Sequence[str] | None,
    architecture: Architecture,
    contents: Sequence[str | None],
    guidance: float | None = None,
) -> list[str]:
    """Describe the arms that `select_arms` leaves out, in a line for each reason.

    Args:
        names: As in `select_arms`.
        architecture: As in `select_arms`.
        contents: As in `select_arms`.
        guidance: As in `select_arms`.
    """
    known = {**ARMS, **REMOVAL_ARMS, **METHOD_ARMS}
    meant = ARMS if names is None else [arm for name in names for arm in GROUPS.get(name, ())]
    left_out: dict[str, list[str]] = {}
    for name in dict.fromkeys(meant):
        if (obstacle := _find_obstacle(known[name], architecture, contents, guidance)) is not None:
            left_out.setdefault(str(obstacle), []).append(name)
    return [f"without the arm{'s' * (len(arms) > 1)} {', '.join(arms)}: {why}" for why, arms in left_out.items()]


def parse_scales(text: str) -> list[float]:
    """Parse the scales of an evaluation.

    Args:
        text: A range first:last:step such as `0.2:1.2:0.2`, or values separated by commas, `0.5,1`.

    Returns:
        The scales in ascending order.

    Raises:
        JobError: The text is neither, or a scale is negative or not finite.
    """
    try:
        scales = {float(value) for value in SweepAxis.parse(f"scale={text}").values}
    except ValueError:
        scales = {nan}
    except JobError as error:
        raise JobError(f"scales are {shorten(text)}. {error}") from None
    if not all(0 <= scale < inf for scale in scales):
        raise JobError(f"scales are {shorten(text)}; give first:last:step such as 0.2:1.2:0.2, or 0.5,1.")
    return sorted(scales)


def combine_settings(arms: Sequence[Arm], scales: Sequence[float]) -> list[Setting]:
    """Combine each arm with each scale; an arm without a reference appears once."""
    return [Setting(arm, scale) for arm in arms for scale in (scales if arm.styled else [None])]


def _find_obstacle(
    arm: Arm, architecture: Architecture, contents: Sequence[str | None], guidance: float | None
) -> JobError | BlockError | None:
    """Return, as an error, why an arm cannot be generated; None if it can."""
    if arm.content and not any(contents):
        return JobError(
            "content is removed, and it is not known what the references show; write it into contents.json beside "
            'them: {"ink.png": "a cat"}.'
        )
    if arm.negative and len(contents) < 2:
        return JobError("the next reference would be the negative style, and there is one; give several.")
    needs_guidance = arm.negative or arm.arguments.get("blocks") in MODES
    if needs_guidance and guidance is not None and guidance <= 1:
        return JobError(
            f"it acts through guidance, and guidance_scale is {guidance:g}; give one above 1 (--guidance 2)."
        )
    try:
        architecture.select(arm.arguments.get("blocks", "all"))
    except BlockError as error:
        return error
    return None
