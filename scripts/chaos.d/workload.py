"""Batches as a function of (seed, producer, sequence), so that the same bytes can be made again.

Each batch counts in cells (key, minute) that all batches share, and once in a cell of its own
kind: batch number s of producer p adds the value 2^(s mod 40) to the key `p-(s div 40)` of the
type `audit`. The sum of such a key spells the set of batches that were counted, and its count
must be the number of bits: a batch that is missing or counted twice is named.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import dataclass

TYPE = "chaos"
AUDIT_TYPE = "audit"
KEYS = tuple(f"k{number:02d}" for number in range(48))
MINUTES = 20
_AUDIT_BITS = 40
_BROKEN_LINES = (
    "no json",
    '{"type":"chaos","time":"2026-01-01T00:00:00Z"}',
    '{"type":"chaos","key":"k00","time":"yesterday"}',
    '{"key":"k00","time":"2026-01-01T00:00:00Z"}',
)


def minute_text(minute: int) -> str:
    """Each on a day of its own, so that all days matter where they lie apart."""
    return f"2026-01-{minute + 1:02d}T00:{minute:02d}:00Z"


def minute_end(minute: int) -> str:
    return f"2026-01-{minute + 1:02d}T00:{minute + 1:02d}:00Z"


def minute_of(start: str) -> int | None:
    """The number of the minute with this start; nil for a window that nobody sent."""
    for minute in range(MINUTES):
        if minute_text(minute) == start:
            return minute
    return None


@dataclass(frozen=True)
class Batch:
    producer: int
    sequence: int
    body: bytes
    # Events by (key, minute), without the audit event.
    cells: Counter[tuple[str, int]]
    events: int
    dead: int

    @property
    def counted(self) -> int:
        return self.events - self.dead

    @property
    def audit_key(self) -> str:
        return audit_key(self.producer, self.sequence)

    @property
    def audit_bit(self) -> int:
        return 1 << (self.sequence % _AUDIT_BITS)

    def __str__(self) -> str:
        return f"batch {self.producer}/{self.sequence}"


def audit_key(producer: int, sequence: int) -> str:
    return f"{producer}-{sequence // _AUDIT_BITS}"


def audit_sequences(key: str, mask: int) -> list[str]:
    """The batches that the bits of an audit key's sum name."""
    producer, block = key.split("-")
    return [
        f"{producer}/{int(block) * _AUDIT_BITS + bit}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    ]


def producer_id(seed: int, producer: int) -> str:
    return str(uuid.UUID(int=random.Random(f"id/{seed}/{producer}").getrandbits(128), version=4))


def make_batch(seed: int, producer: int, sequence: int) -> Batch:
    draw = random.Random(f"{seed}/{producer}/{sequence}")
    lines = []
    cells: Counter[tuple[str, int]] = Counter()
    for _ in range(draw.randint(5, 80)):
        # Squared: some keys are in most batches, others in few.
        key = KEYS[int(len(KEYS) * draw.random() ** 2)]
        minute = draw.randrange(MINUTES)
        cells[key, minute] += 1
        second = f"{minute_text(minute)[:-3]}{draw.randrange(60):02d}Z"
        lines.append(f'{{"type":"{TYPE}","key":"{key}","time":"{second}"}}')
    lines.append(
        f'{{"type":"{AUDIT_TYPE}","key":"{audit_key(producer, sequence)}",'
        f'"time":"{minute_text(0)}","value":{1 << (sequence % _AUDIT_BITS)}}}'
    )
    dead = 0
    if draw.random() < 0.1:
        for _ in range(draw.randint(1, 3)):
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(_BROKEN_LINES))
            dead += 1
    body = "\n".join(lines) + "\n"
    return Batch(producer, sequence, body.encode(), cells, len(lines), dead)
