"""What is looked at in the samples, how it is written, and what of it must not grow."""

from __future__ import annotations

from dataclasses import dataclass

from sampler import Sample
from trend import Trend, judge

# Outcomes of batches stay in history for an hour at least (batch_status_retention).
_HISTORY_WARM_UP = 4500.0
# After a start a node is not yet what it is.
_YOUNG_SECONDS = 30.0
_MEBI = float(1 << 20)


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    unit: str
    scale: float
    # What a growth over the run must add to be one, in the unit.
    least: float
    # What grows below this level, in the unit, is only filling what it is allowed to have.
    allowed: float = 0.0
    warm_up: float = 0.0


MEASURES = (
    Measure("rss", "resident memory", "MiB", _MEBI, 16),
    Measure("index", "index of batches", "MiB", _MEBI, 4),
    Measure("descriptors", "open descriptors", "", 1, 8),
    Measure("threads", "threads", "", 1, 2),
    # Two files of 64 MiB are always kept, and one is being written.
    Measure("log", "log", "MiB", _MEBI, 64, allowed=192),
    Measure("tables", "tables", "MiB", _MEBI, 16),
    Measure("history", "history", "MiB", _MEBI, 4, warm_up=_HISTORY_WARM_UP),
    Measure("write_p99", "write, p99", "ms", 1, 5),
    Measure("read_p99", "read, p99", "ms", 1, 5),
)


def points_of(samples: list[Sample], node: str, measure: Measure) -> list[tuple[float, float]]:
    points = []
    for sample in samples:
        value = getattr(sample, measure.name)
        if sample.node == node and value is not None:
            points.append((sample.at, value / measure.scale))
    return points


def _settled(samples: list[Sample], node: str, warm_up: float) -> list[Sample]:
    """A node's samples after the warm-up, without the first moments after each of its starts."""
    settled: list[Sample] = []
    start, began = 0, 0.0
    for sample in samples:
        if sample.node != node:
            continue
        if sample.start != start or sample.rss is None:
            start, began = sample.start, sample.at
        if sample.at >= warm_up and sample.at - began >= _YOUNG_SECONDS:
            settled.append(sample)
    return settled


def trend_of(samples: list[Sample], node: str, measure: Measure, warm_up: float) -> Trend:
    settled = _settled(samples, node, max(warm_up, measure.warm_up))
    return judge(points_of(settled, node, measure), measure.least, measure.allowed)
