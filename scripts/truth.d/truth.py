"""What Python finds in the files, and how it differs from what the nodes answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Iterable

from files import Event, utc_minute


@dataclass
class Measure:
    count: int = 0
    sum: Decimal | None = None
    min: Decimal | None = None
    max: Decimal | None = None

    def add(self, value: Decimal | None) -> None:
        self.count += 1
        if value is None:
            return
        self.sum = value if self.sum is None else self.sum + value
        self.min = value if self.min is None else min(self.min, value)
        self.max = value if self.max is None else max(self.max, value)

    @staticmethod
    def answered(row: dict[str, Any]) -> Measure:
        names = ("sum", "min", "max")
        return Measure(int(row["count"]), *(Decimal(row[n]) if n in row else None for n in names))


@dataclass
class Truth:
    """By type and key, then by minute."""

    series: dict[tuple[str, str], dict[int, Measure]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Measure))
    )
    types: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    minutes: Counter[int] = field(default_factory=Counter)
    sum: Decimal = Decimal(0)
    events: int = 0
    dead: int = 0

    def add(self, events: Iterable[Event | None]) -> None:
        for event in events:
            self.events += 1
            if event is None:
                self.dead += 1
                continue
            self.series[event.type, event.key][event.minute].add(event.value)
            self.types[event.type] += 1
            self.keys[event.key] += 1
            self.minutes[event.minute] += 1
            self.sum += event.value or 0

    @property
    def spans(self) -> Counter[str]:
        """Events of each day, hour and minute."""
        found: Counter[str] = Counter()
        for minute, count in self.minutes.items():
            text = datetime.fromtimestamp(minute * 60, timezone.utc).strftime("%Y-%m-%dT%H:%M")
            for length in (10, 13, 16):
                found[text[:length]] += count
        return found

    @property
    def windows(self) -> int:
        return sum(len(windows) for windows in self.series.values())

    def totals(self, of: str) -> dict[str, int]:
        """Of each key of a type."""
        return {
            key: sum(measure.count for measure in windows.values())
            for (type, key), windows in self.series.items()
            if type == of
        }

    def sums(self, of: str) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for (type, key), windows in self.series.items():
            values = [measure.sum for measure in windows.values() if measure.sum is not None]
            if type == of and values:
                found[key] = sum(values, Decimal(0))
        return found

    def difference(self, type: str, key: str, answer: dict[str, Any]) -> str | None:
        """In words; None where the answer is right to the last window."""
        wanted = self.series[type, key]
        found = {
            utc_minute(row["start"]): Measure.answered(row)
            for row in answer["windows"]
        }
        if int(answer["total"]["count"]) != sum(measure.count for measure in wanted.values()):
            return f"{type} {key}: the total is {answer['total']['count']}"
        for minute in wanted.keys() | found.keys():
            if wanted.get(minute) != found.get(minute):
                words = f"{found.get(minute)}, must be {wanted.get(minute)}"
                return f"{type} {key}: minute {minute} has {words}"
        return None
