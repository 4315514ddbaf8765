"""Trade-off curves as inline SVG: one score against another, a line an arm, a point a scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .point import Point

WIDTH, HEIGHT, MARGIN = 520, 380, 52  # px
COLOURS = (
    *("#555555", "#c43c2c", "#3b60b4", "#2c8a4b", "#b07c14", "#7a4fa3", "#1b9aaa"),
    *("#d4578f", "#7a9a01", "#8c564b", "#e08a3c", "#2d3a8c", "#9a9a9a", "#000000"),
)
TICKS = 5
LINE = 18  # px, of the legend in a figure


@dataclass(frozen=True)
class PlotAxis:
    """A score drawn from `low` to `high` onto pixels from `start` to `end`."""

    name: str
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * step / (TICKS - 1) for step in range(TICKS)]


def curves(points: Sequence[Point], across: str, up: str) -> str:
    """The picture's SVG and its legend, to stand in a page.

    Every point names itself when the mouse is on it, and leads to its pictures (`anchor`) when it is clicked;
    whiskers are 95 % intervals.
    """
    drawn, arms = _drawn(points, across, up, linked=True)
    return f"{_svg(drawn, HEIGHT, f'{up} against {across}')}{_legend(arms)}"


def figure(points: Sequence[Point], across: str, up: str) -> str:
    """The same as an SVG file of its own: the arms are named in it, below the curves."""
    drawn, arms = _drawn(points, across, up)
    named = "".join(
        f'<circle cx="{MARGIN}" cy="{HEIGHT + place * LINE}" r="4" fill="{COLOURS[place % len(COLOURS)]}"/>'
        f'<text x="{MARGIN + 10}" y="{HEIGHT + 4 + place * LINE}" font-size="12" fill="#222" '
        f'font-family="sans-serif">{escape(arm)}</text>'
        for place, arm in enumerate(arms)
    )
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return _svg(f"{paper}{drawn}{named}", HEIGHT + LINE * len(arms), f"{up} against {across}") + "\n"


def anchor(place: int) -> str:
    """The id of what stands for the point at this place of all."""
    return f"point-{place}"


def _drawn(points: Sequence[Point], across: str, up: str, *, linked: bool = False) -> tuple[str, list[str]]:
    """Frame and lines, and the arms in the order of their colours."""
    places = [place for place, one in enumerate(points) if across in one.scores and up in one.scores]
    shown = [points[place] for place in places]
    x = _axis(shown, across, MARGIN, WIDTH - MARGIN / 2)
    y = _axis(shown, up, HEIGHT - MARGIN, MARGIN / 2)
    arms = list(dict.fromkeys(point.setting.arm.name for point in shown))
    drawn = [_frame(x, y)]
    for number, arm in enumerate(arms):
        colour = COLOURS[number % len(COLOURS)]
        own = [place for place in places if points[place].setting.arm.name == arm]
        drawn.append(_line([points[place] for place in own], x, y, colour))
        for place in own:
            mark = _mark(points[place], x, y, colour)
            drawn.append(f'<a href="#{anchor(place)}">{mark}</a>' if linked else mark)
    return "".join(drawn), arms


def _svg(drawn: str, height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">{drawn}</svg>'
    )


def _axis(points: Sequence[Point], name: str, start: float, end: float) -> PlotAxis:
    values = [value for point in points for value in point.scores[name]] or [0.0]
    # A twentieth of room at both ends; a hundredth where all values are one.
    room = max(0.05 * (max(values) - min(values)), 0.01)
    return PlotAxis(name, min(values) - room, max(values) + room, start, end)


def _frame(x: PlotAxis, y: PlotAxis) -> str:
    lines = ['<g font-size="11" fill="#444" stroke="none" font-family="sans-serif">']
    for tick in x.ticks():
        place = x.at(tick)
        lines.append(f'<path d="M{place:.1f} {y.start:.1f}V{y.end:.1f}" stroke="#eee"/>')
        lines.append(f'<text x="{place:.1f}" y="{y.start + 16:.1f}" text-anchor="middle">{tick:.2f}</text>')
    for tick in y.ticks():
        place = y.at(tick)
        lines.append(f'<path d="M{x.start:.1f} {place:.1f}H{x.end:.1f}" stroke="#eee"/>')
        lines.append(f'<text x="{x.start - 6:.1f}" y="{place + 4:.1f}" text-anchor="end">{tick:.2f}</text>')
    middle = (x.start + x.end) / 2, (y.start + y.end) / 2
    lines.append(f'<text x="{middle[0]:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.name)}</text>')
    lines.append(
        f'<text transform="translate(12 {middle[1]:.0f}) rotate(-90)" text-anchor="middle">{escape(y.name)}'
        "</text></g>"
    )
    return "".join(lines)


def _line(points: Sequence[Point], x: PlotAxis, y: PlotAxis, colour: str) -> str:
    places = [(x.at(point.scores[x.name][0]), y.at(point.scores[y.name][0])) for point in points]
    path = "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _mark(point: Point, x: PlotAxis, y: PlotAxis, colour: str) -> str:
    across, up = point.scores[x.name], point.scores[y.name]
    left, top = x.at(across[0]), y.at(up[0])
    whiskers = (
        f'<path d="M{x.at(across[1]):.1f} {top:.1f}H{x.at(across[2]):.1f}'
        f'M{left:.1f} {y.at(up[1]):.1f}V{y.at(up[2]):.1f}" stroke="{colour}" opacity="0.25"/>'
    )
    told = escape(f"{titled(point)}: {x.name} {across[0]:.3f}, {y.name} {up[0]:.3f}")
    spot = f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="{colour}"><title>{told}</title></circle>'
    return whiskers + spot


def titled(point: Point) -> str:
    """The arm and its scale in words."""
    scale = point.setting.scale
    return point.setting.arm.name if scale is None else f"{point.setting.arm.name}, scale {scale:g}"


def _legend(arms: Sequence[str]) -> str:
    entries = (
        f'<span><i style="background:{COLOURS[place % len(COLOURS)]}"></i>{escape(arm)}</span>'
        for place, arm in enumerate(arms)
    )
    return f'<p class="legend">{"".join(entries)}</p>'
