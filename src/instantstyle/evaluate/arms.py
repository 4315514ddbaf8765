"""The arms that are compared, and the scales at which each is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from ..architectures import Architecture
from ..errors import JobError, did_you_mean
from ..trials import NO_REFERENCE, Arm

ARMS = {
    "none": NO_REFERENCE,
    "all": Arm("all blocks", {"blocks": "all"}),
    "style": Arm("style blocks", {"blocks": "style"}),
    "removed": Arm("style blocks, content removed", {"blocks": "style"}, content=True),
    "style+layout": Arm("style and layout blocks", {"blocks": "style+layout"}),
}
"""By the word that names them on the command line. `none` is always drawn: the others are held against it."""

SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
MOST = 50  # scales: more is a slip of the pen in a range's step


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
    """The named arms, no reference first; None: all for which there are roles in this network, and words.

    `contents`: of each reference, the words for what it shows or None.
    """
    if names is None:
        return [arm for arm in ARMS.values() if _possible(arm, architecture, contents)]
    for name in names:
        if name not in ARMS:
            raise JobError(
                f"There is no arm {name!r}; there are {', '.join(ARMS)}.{did_you_mean(name, [*ARMS])}"
            )
    if "removed" in names and not any(contents):
        raise JobError(
            "The arm 'removed' takes content out, and nothing says what the references show; write it into "
            'contents.json beside them: {"ink.png": "a cat"}.'
        )
    for name in names:
        if blocks := ARMS[name].arguments.get("blocks"):
            architecture.select(blocks)
    return [arm for name, arm in ARMS.items() if name in names or name == "none"]


def scales_of(text: str) -> list[float]:
    """`0.2:1.2:0.2` from first to last by steps, or `0.5,1` one by one."""
    try:
        numbers = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = []
    fault = JobError(f"scales are {text!r}; give first:last:step such as 0.2:1.2:0.2, or 0.5,1.")
    if not numbers or not all(isfinite(number) and number >= 0 for number in numbers):
        raise fault
    if ":" not in text:
        return sorted(set(numbers))
    if len(numbers) != 3 or "," in text or numbers[2] == 0 or numbers[0] > numbers[1]:
        raise fault
    first, last, step = numbers
    # 1e-9: 0.2 + 5 × 0.2 is a hair above 1.2.
    count = int((last - first) / step + 1e-9) + 1
    if count > MOST:
        raise JobError(f"scales {text!r} are {count}; that is more than the {MOST} that make sense.")
    return [round(first + place * step, 6) for place in range(count)]


def settings_of(arms: Sequence[Arm], scales: Sequence[float]) -> list[Setting]:
    """Each arm at each scale; no reference once."""
    return [Setting(arm, scale) for arm in arms for scale in (scales if arm.styled else [None])]


def _possible(arm: Arm, architecture: Architecture, contents: Sequence[str | None]) -> bool:
    words = str(arm.arguments.get("blocks", "all")).split("+")
    has_roles = all(word == "all" or word in architecture.roles for word in words)
    return has_roles and (not arm.content or any(contents))
