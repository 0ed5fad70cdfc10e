"""The input of a comparison: one file of events for all, and what is true of it, counted here and
by nobody who is measured."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Iterator

KEYS = 100_000
TYPES = ("view", "like")
BATCH = 10_000
_SAMPLE = 100

# (type, key) and, of it, events by minute such as 2026-01-01T00:17.
Series = tuple[str, str]
Minutes = dict[Series, dict[str, int]]


@dataclass(frozen=True)
class Input:
    file: Path
    lines: int
    good: int
    minutes: Minutes


def generate(binary: Path, file: Path, count: int) -> str:
    """Writes the events; the command, for people. No line is broken: the engines differ in what
    they make of one, and chdb then also skips the line after it."""
    options = ["--events", str(count), "--keys", str(KEYS), "--types", ",".join(TYPES)]
    with file.open("wb") as output:
        subprocess.run([str(binary), "generate", *options], stdout=output, check=True)
    return f"quipu generate {' '.join(options)}"


def parse(line: bytes) -> tuple[str, str, str] | None:
    """(type, key, minute); nil for a line that cannot be counted. What a program has to do before
    it can tell a database without JSON what to count."""
    try:
        event = json.loads(line)
        time = event["time"]
        datetime.fromisoformat(time)
        return event["type"], event["key"], time[:16]
    except (ValueError, KeyError, TypeError):
        return None


def batches(file: Path) -> Iterator[list[bytes]]:
    """The lines, 10,000 at a time."""
    batch: list[bytes] = []
    with file.open("rb") as lines:
        for line in lines:
            batch.append(line)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def count(file: Path, lines: int) -> Input:
    """Counts the file. Of a hundred series all minutes are kept: a third each of frequent keys, of
    what random lines name and of all keys alike, which may have none."""
    draw = random.Random("the sample of a comparison")
    numbers = list(range(_SAMPLE // 3))
    chosen = {draw.randrange(lines) for _ in range(_SAMPLE // 3)}
    with file.open("rb") as text:
        named = [parse(line) for number, line in enumerate(text) if number in chosen]
    keys = {(event[0], event[1]) for event in named if event is not None}
    keys |= {(draw.choice(TYPES), f"k{number:010d}") for number in numbers}
    while len(keys) < _SAMPLE:
        keys.add((draw.choice(TYPES), f"k{draw.randrange(KEYS):010d}"))
    minutes: dict[Series, Counter[str]] = {series: Counter() for series in keys}
    good = 0
    with file.open("rb") as text:
        for line in text:
            event = parse(line)
            if event is None:
                continue
            good += 1
            counter = minutes.get((event[0], event[1]))
            if counter is not None:
                counter[event[2]] += 1
    return Input(file, lines, good, {series: dict(found) for series, found in minutes.items()})
