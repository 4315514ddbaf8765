"""Trade-off curves as SVG: one score against another, a line for each arm, a point for each scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..utils.html import render
from .point import Point

WIDTH, HEIGHT, MARGIN = 520, 380, 52  # px
COLOURS = (
    *("#555555", "#c43c2c", "#3b60b4", "#2c8a4b", "#b07c14", "#7a4fa3", "#1b9aaa"),
    *("#d4578f", "#7a9a01", "#8c564b", "#e08a3c", "#2d3a8c", "#9a9a9a", "#000000"),
    *("#ff9896", "#005f56"),
)
TICKS = 5
LEGEND_LINE = 18  # px, in a figure

_FIGURE = "evaluation/templates/curves.svg.jinja"
_FRAGMENT = "evaluation/templates/curves.html.jinja"


@dataclass(frozen=True)
class PlotAxis:
    """A score from `low` to `high` on pixels from `start` to `end`."""

    name: str
    low: float
    high: float
    start: float
    end: float

    def to_pixels(self, value: float) -> float:
        """Convert a value of the score to its coordinate in the plot."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the values that are labelled."""
        return [self.low + (self.high - self.low) * step / (TICKS - 1) for step in range(TICKS)]


@dataclass(frozen=True)
class Marker:
    """A point in the plot, in pixels, with the ends of its intervals."""

    title: str
    anchor: str
    x: float
    y: float
    interval_x: tuple[float, float]
    interval_y: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """The markers of one arm in the order of its scales."""

    arm: str
    colour: str
    markers: Sequence[Marker]


def render_curves(points: Sequence[Point], across: str, up: str) -> Markup:
    """Render curves and their legend as a part of a page.

    A marker shows its values when the pointer is over it, and links to the element with the id
    `anchor_of(place)`. Whiskers are 95 % intervals.

    Args:
        points: All points of the evaluation; those without one of the scores are left out.
        across: Score on the horizontal axis.
        up: Score on the vertical axis.

    Returns:
        HTML with an inline SVG.
    """
    return Markup(_render(_FRAGMENT, points, across, up, linked=True, legend_line=0))


def render_figure(points: Sequence[Point], across: str, up: str) -> str:
    """Render curves as an SVG file with a legend in it; arguments as for `render_curves`."""
    return _render(_FIGURE, points, across, up, linked=False, legend_line=LEGEND_LINE) + "\n"


def anchor_of(place: int) -> str:
    """Return the id of the element that shows the images of a point, by the point's index."""
    return f"point-{place}"


def _render(template: str, points: Sequence[Point], across: str, up: str, *, linked: bool, legend_line: int) -> str:
    shown = {place: one for place, one in enumerate(points) if across in one.scores and up in one.scores}
    x = _fit_axis(list(shown.values()), across, MARGIN, WIDTH - MARGIN / 2)
    y = _fit_axis(list(shown.values()), up, HEIGHT - MARGIN, MARGIN / 2)
    arms = list(dict.fromkeys(point.setting.arm.name for point in shown.values()))
    curves = [
        Curve(
            arm,
            COLOURS[number % len(COLOURS)],
            [_marker(place, one, x, y) for place, one in shown.items() if one.setting.arm.name == arm],
        )
        for number, arm in enumerate(arms)
    ]
    return render(
        template,
        curves=curves,
        x=x,
        y=y,
        width=WIDTH,
        plot_height=HEIGHT,
        height=HEIGHT + legend_line * len(curves),
        margin=MARGIN,
        legend_line=legend_line,
        linked=linked,
    )


def _fit_axis(points: Sequence[Point], name: str, start: float, end: float) -> PlotAxis:
    values = [value for point in points for value in point.scores[name]] or [0.0]
    # Padding of a twentieth at both ends; of a hundredth if all values are equal.
    padding = max(0.05 * (max(values) - min(values)), 0.01)
    return PlotAxis(name, min(values) - padding, max(values) + padding, start, end)


def _marker(place: int, point: Point, x: PlotAxis, y: PlotAxis) -> Marker:
    across, up = point.scores[x.name], point.scores[y.name]
    return Marker(
        title=f"{point.title}: {x.name} {across[0]:.3f}, {y.name} {up[0]:.3f}",
        anchor=anchor_of(place),
        x=x.to_pixels(across[0]),
        y=y.to_pixels(up[0]),
        interval_x=(x.to_pixels(across[1]), x.to_pixels(across[2])),
        interval_y=(y.to_pixels(up[1]), y.to_pixels(up[2])),
    )
