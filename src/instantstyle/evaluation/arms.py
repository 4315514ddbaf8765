"""The arms that are compared, and the scales at which each is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan

from ..core.content_removal import CLEAN, CONTENT_SCALES
from ..errors import BlockError, JobError, did_you_mean
from ..generation.sweep_axis import SweepAxis
from ..unet.architectures import Architecture
from .experiment import NO_REFERENCE, Arm

ARMS = {
    "none": NO_REFERENCE,
    "all": Arm("all blocks", {"blocks": "all"}),
    "style": Arm("style blocks", {"blocks": "style"}),
    "removed": Arm("style blocks, content removed", {"blocks": "style"}, content=True),
    "style+layout": Arm("style and layout blocks", {"blocks": "style+layout"}),
}
"""By the word that names them on the command line. `none` is always drawn: the others are held against it."""

_WHERE = {"all": "all blocks", "style": "style blocks"}

CURES = {
    **{
        f"{blocks}-{removal}": Arm(
            f"{told}, {removal}", {"blocks": blocks, "removal": removal}, content=removal != CLEAN
        )
        for blocks, told in _WHERE.items()
        for removal in CONTENT_SCALES
    },
    **{
        f"{blocks}-negative": Arm(f"{told}, away from the next", {"blocks": blocks}, negative=True)
        for blocks, told in _WHERE.items()
    },
    "precise-style": Arm("style blocks, away from the layout", {"blocks": "precise-style"}),
}
"""Every way to take the subject out: removals; another picture, or its own layout, on the negative side."""

GROUPS = {"cures": [*_WHERE, *CURES]}
"""Several arms by one word: the cures beside what they are to cure."""

SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True)
class Setting:
    """An arm at a scale; None where there is no reference to act."""

    arm: Arm
    scale: float | None

    @property
    def drawn(self) -> Arm:
        """The arm as it is drawn."""
        if self.scale is None:
            return self.arm
        arguments = {**self.arm.arguments, "scale": self.scale}
        return replace(self.arm, name=f"{self.arm.name} at {self.scale:g}", arguments=arguments)


def arms_of(
    names: Sequence[str] | None, architecture: Architecture, contents: Sequence[str | None]
) -> list[Arm]:
    """The named arms, no reference first; None: all of `ARMS` that can be drawn.

    Of a group too only those for which there are roles in this network, words and references; an arm that is
    named itself is refused where it cannot be drawn.

    `contents`: of each reference, the words for what it shows or None.
    """
    if names is None:
        return [arm for arm in ARMS.values() if _possible(arm, architecture, contents)]
    known = {**ARMS, **CURES}
    for name in names:
        if name not in known and name not in GROUPS:
            legal = [*known, *GROUPS]
            raise JobError(
                f"There is no arm {name!r}; there are {', '.join(legal)}.{did_you_mean(name, legal)}"
            )
        if name in known:
            _check(name, known[name], architecture, contents)
    grouped = {
        name
        for group in names
        for name in GROUPS.get(group, ())
        if _possible(known[name], architecture, contents)
    }
    return [arm for name, arm in known.items() if name in ("none", *names) or name in grouped]


def scales_of(text: str) -> list[float]:
    """`0.2:1.2:0.2` from first to last by steps, or `0.5,1` one by one; as a sweep's axis reads them."""
    try:
        scales = {float(value) for value in SweepAxis.parse(f"scale={text}").values}
    except ValueError:
        scales = {nan}
    except JobError as fault:
        raise JobError(f"scales are {text!r}. {fault}") from None
    if not all(0 <= scale < inf for scale in scales):
        raise JobError(f"scales are {text!r}; give first:last:step such as 0.2:1.2:0.2, or 0.5,1.")
    return sorted(scales)


def settings_of(arms: Sequence[Arm], scales: Sequence[float]) -> list[Setting]:
    """Each arm at each scale; no reference once."""
    return [Setting(arm, scale) for arm in arms for scale in (scales if arm.styled else [None])]


def _check(name: str, arm: Arm, architecture: Architecture, contents: Sequence[str | None]) -> None:
    """Refuse an arm that cannot be drawn with these references in this network."""
    if arm.content and not any(contents):
        raise JobError(
            f"The arm {name!r} takes content out, and nothing says what the references show; write it into "
            'contents.json beside them: {"ink.png": "a cat"}.'
        )
    if arm.negative and len(contents) < 2:
        raise JobError(
            f"The arm {name!r} draws away from the next reference, and there is one; give several."
        )
    architecture.select(arm.arguments.get("blocks", "all"))


def _possible(arm: Arm, architecture: Architecture, contents: Sequence[str | None]) -> bool:
    try:
        _check("", arm, architecture, contents)
    except (BlockError, JobError):
        return False
    return True
