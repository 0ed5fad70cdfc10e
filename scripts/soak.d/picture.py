"""The samples as a picture: a panel for each measure, a line for each node, a mark for each kill.
SVG, written by hand: nothing has to be installed for it."""

from __future__ import annotations

from html import escape

from measures import MEASURES, Measure, points_of
from sampler import Sample

_WIDTH = 960
_LEFT = 90
_RIGHT = 20
_TOP = 70
_PANEL = 120
_GAP = 46
_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_GREY = "#767676"
# Lines finer than the eye can see are joined.
_POINTS_MAX = 900
# Seconds between two marks of time.
_STEPS = (60, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800)


class Picture:
    def __init__(
        self,
        samples: list[Sample],
        nodes: list[str],
        kills: list[tuple[float, str]],
        warm_up: float,
    ) -> None:
        self._samples = samples
        self._nodes = nodes
        self._kills = kills
        self._warm_up = warm_up
        self._end = max([sample.at for sample in samples], default=1.0)

    def svg(self, title: str) -> str:
        height = _TOP + len(MEASURES) * (_PANEL + _GAP) + 10
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            f'<text x="{_LEFT}" y="24" font-size="16">{escape(title)}</text>',
            *self._legend(),
        ]
        for number, measure in enumerate(MEASURES):
            parts += self._panel(measure, _TOP + number * (_PANEL + _GAP))
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _legend(self) -> list[str]:
        parts = []
        for number, node in enumerate(self._nodes):
            x, colour = _LEFT + number * 70, _COLOURS[number % len(_COLOURS)]
            parts.append(f'<line x1="{x}" y1="40" x2="{x + 20}" y2="40" {_stroke(colour, 2)}/>')
            parts.append(f'<text x="{x + 26}" y="44">{escape(node)}</text>')
        words = "┊ a kill, in the colour of its node;  grey ground: warm-up, no part of the slopes"
        x = _LEFT + len(self._nodes) * 70 + 10
        parts.append(f'<text x="{x}" y="44" fill="{_GREY}">{words}</text>')
        return parts

    def _panel(self, measure: Measure, top: float) -> list[str]:
        lines = [points_of(self._samples, node, measure) for node in self._nodes]
        most = max([value for points in lines for _, value in points], default=0.0) or 1.0
        most *= 1.08
        bottom = top + _PANEL
        unit = f", {measure.unit}" if measure.unit else ""
        warm = min(max(self._warm_up, measure.warm_up), self._end)
        parts = [
            f'<rect x="{_LEFT}" y="{top}" width="{self._x(warm) - _LEFT:.1f}" height="{_PANEL}" '
            'fill="#f0f0f0"/>',
            f'<text x="{_LEFT}" y="{top - 8}" font-weight="bold">{measure.title}{unit}</text>',
        ]
        for share in (0.0, 0.5, 1.0):
            y = bottom - share * _PANEL
            parts.append(
                f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" '
                f"{_stroke('#dddddd', 1)}/>"
            )
            parts.append(
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_GREY}">'
                f"{_number(share * most)}</text>"
            )
        parts += self._hours(bottom)
        for at, node in self._kills:
            colour = _COLOURS[self._nodes.index(node) % len(_COLOURS)]
            x = self._x(at)
            parts.append(
                f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" '
                f'{_stroke(colour, 0.6)} stroke-dasharray="2 3" opacity="0.5"/>'
            )
        for number, points in enumerate(lines):
            parts += self._line(points, most, bottom, _COLOURS[number % len(_COLOURS)])
        return parts

    def _hours(self, bottom: float) -> list[str]:
        step = next(step for step in _STEPS if self._end / step <= 12)
        parts = []
        for at in range(0, int(self._end) + 1, step):
            words = f"{at // 3600}:{at % 3600 // 60:02d}"
            parts.append(
                f'<text x="{self._x(at):.1f}" y="{bottom + 14}" text-anchor="middle" '
                f'fill="{_GREY}">{words}</text>'
            )
        return parts

    def _line(
        self, points: list[tuple[float, float]], most: float, bottom: float, colour: str
    ) -> list[str]:
        """Broken where the node did not run."""
        pieces: list[list[str]] = [[]]
        before = 0.0
        stride = max(1, len(points) // _POINTS_MAX)
        gap = 3 * stride * self._interval()
        for at, value in points[::stride]:
            if at - before > gap and pieces[-1]:
                pieces.append([])
            pieces[-1].append(f"{self._x(at):.1f},{bottom - value / most * _PANEL:.1f}")
            before = at
        return [
            f'<polyline points="{" ".join(piece)}" fill="none" {_stroke(colour, 1.2)}/>'
            for piece in pieces
            if piece
        ]

    def _interval(self) -> float:
        times = sorted({sample.at for sample in self._samples if sample.node == self._nodes[0]})
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0

    def _x(self, at: float) -> float:
        return _LEFT + at / self._end * (_WIDTH - _LEFT - _RIGHT)


def _stroke(colour: str, width: float) -> str:
    return f'stroke="{colour}" stroke-width="{width}"'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
