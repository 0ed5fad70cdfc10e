"""Whether something grows: least squares over the means of minutes, after the warm-up."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

_MINUTE = 60.0
# History is written each ten minutes: less than two of its steps look like a slope. Fewer minutes
# give a slope and its error, and no verdict.
POINTS_MIN = 25
# A slope counts where it is so many times its own standard error…
_ERRORS = 3.0
# …and where what it adds over the run is this share of what is there.
_SHARE = 0.05


@dataclass(frozen=True)
class Trend:
    """Of one measure of one node. `verdict` is flat, growing, filling, falling or too short. Two
    minutes make a slope, three its standard error; before that they are None."""

    mean: float
    slope_per_hour: float | None
    error_per_hour: float | None
    added: float
    verdict: str


def minute_means(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """(time, value) in seconds → one point for each minute. Neighbours in time are alike, and
    would make a slope look surer than it is."""
    minutes: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for at, value in points:
        minutes[int(at // _MINUTE)].append((at, value))
    return [
        (sum(at for at, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for _, group in sorted(minutes.items())
    ]


def judge(points: list[tuple[float, float]], least: float, allowed: float) -> Trend:
    """`least`: what a growth must add over the run to be one, whatever its share. `allowed`: below
    this level it only fills."""
    means = minute_means(points)
    count = len(means)
    mean = sum(value for _, value in means) / count if count else 0.0
    if count < 2:
        return Trend(mean, None, None, 0.0, "too short")
    middle = sum(at for at, _ in means) / count
    spread = sum((at - middle) ** 2 for at, _ in means)
    slope = sum((at - middle) * (value - mean) for at, value in means) / spread
    rest = sum((value - mean - slope * (at - middle)) ** 2 for at, value in means)
    added = slope * (means[-1][0] - means[0][0])
    if count < 3:
        return Trend(mean, slope * 3600, None, added, "too short")
    error = math.sqrt(rest / (count - 2) / spread)
    if count < POINTS_MIN:
        return Trend(mean, slope * 3600, error * 3600, added, "too short")
    matters = abs(added) > max(least, _SHARE * abs(mean)) and abs(slope) > _ERRORS * error
    verdict = "flat"
    if matters:
        most = max(value for _, value in means)
        verdict = "falling" if added < 0 else "filling" if most < allowed else "growing"
    return Trend(mean, slope * 3600, error * 3600, added, verdict)
