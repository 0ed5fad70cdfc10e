"""What was sent and what was promised: the truth that every answer is compared with.

A quorum read must show, in each cell, at least what was acknowledged before it began and what
another read had shown before it began, and at most what was sent before it ended. All that writes
here runs on one event loop, in the order in which things were seen.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import terminal
import workload
from workload import AUDIT_TYPE, MINUTES, TYPE, Batch

_PRINTED_MAX = 40

# (type, key)
Series = tuple[str, str]


@dataclass
class Entry:
    """A batch that was sent at least once."""

    producer: int
    sequence: int
    created: int
    events: int
    dead: int
    acknowledged_at: float | None = None
    # An attempt that may have reached a node has had no final answer: the batch may be counted.
    may_be_counted: bool = False
    attempts: int = 0
    # Where it was sent and what came back, for the words of a violation.
    history: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Violation:
    check: str
    detail: str
    at: float


@dataclass
class Counts:
    """Of one key of the workload's type, events by minute."""

    attempted: list[int] = field(default_factory=lambda: [0] * MINUTES)
    acknowledged: list[int] = field(default_factory=lambda: [0] * MINUTES)
    # What quorum reads have shown.
    shown: list[int] = field(default_factory=lambda: [0] * MINUTES)


@dataclass
class AuditSet:
    """Of one audit key, the batches as bits."""

    attempted: int = 0
    acknowledged: int = 0
    shown: int = 0


class Ledger:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.entries: dict[tuple[int, int], Entry] = {}
        self.counts: dict[str, Counts] = {}
        self.audits: dict[str, AuditSet] = {}
        self.violations: list[Violation] = []
        self.statistics: Counter[str] = Counter()
        self.write_seconds: list[float] = []
        # What the nemesis does at the moment, for the words of a violation.
        self.faults_under_way: Counter[str] = Counter()

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def violate(self, check: str, detail: str) -> None:
        faults = ", ".join(sorted(+self.faults_under_way)) or "no fault"
        self.violations.append(Violation(check, f"{detail} (during: {faults})", self.elapsed()))
        if len(self.violations) <= _PRINTED_MAX:
            terminal.fail(f"{self.elapsed():6.1f} s  {check}: {detail} (during: {faults})")

    # ---- batches

    def attempt(self, batch: Batch, created: int) -> Entry:
        """Before the first byte of a batch leaves."""
        entry = Entry(batch.producer, batch.sequence, created, batch.events, batch.dead)
        self.entries[batch.producer, batch.sequence] = entry
        for (key, minute), count in batch.cells.items():
            self.counts.setdefault(key, Counts()).attempted[minute] += count
        self.audits.setdefault(batch.audit_key, AuditSet()).attempted |= batch.audit_bit
        return entry

    def acknowledge(self, batch: Batch, entry: Entry) -> None:
        if entry.acknowledged_at is not None:
            return
        entry.acknowledged_at = time.monotonic()
        for (key, minute), count in batch.cells.items():
            self.counts[key].acknowledged[minute] += count
        self.audits[batch.audit_key].acknowledged |= batch.audit_bit
        self.statistics["batches acknowledged"] += 1
        self.statistics["events acknowledged"] += batch.events

    @property
    def unresolved(self) -> list[Entry]:
        return [e for e in self.entries.values() if e.acknowledged_at is None]

    # ---- series

    def all_series(self) -> list[Series]:
        return [(TYPE, key) for key in sorted(self.counts)] + [
            (AUDIT_TYPE, key) for key in sorted(self.audits)
        ]

    def begin(self, series: Series) -> Bounds:
        """The bounds of a read that begins now."""
        kind, key = series
        if kind == AUDIT_TYPE:
            audit = self.audits.setdefault(key, AuditSet())
            return Bounds(self, series, [audit.acknowledged], [audit.shown])
        counts = self.counts.setdefault(key, Counts())
        return Bounds(self, series, counts.acknowledged.copy(), counts.shown.copy())


@dataclass
class Bounds:
    """The lower bounds of one read of one series, taken when it began."""

    ledger: Ledger
    series: Series
    acknowledged: list[int]
    shown: list[int]

    def check_counts(self, values: list[int], source: str, first_minute: int = 0) -> None:
        """A quorum read ended with these counts, minute by minute from the first on."""
        key = self.series[1]
        counts = self.ledger.counts[key]
        for minute, value in enumerate(values, first_minute):
            cell = f"{key} {workload.minute_text(minute)[11:16]} by {source}: {value}"
            if value < self.acknowledged[minute]:
                self.ledger.violate(
                    "read lacks what was acknowledged",
                    f"{cell}, acknowledged before it began: {self.acknowledged[minute]}",
                )
            elif value < self.shown[minute]:
                self.ledger.violate(
                    "read went back",
                    f"{cell}, shown by a read that ended before: {self.shown[minute]}",
                )
            if value > counts.attempted[minute]:
                self.ledger.violate(
                    "read shows what was never sent",
                    f"{cell}, sent before it ended: {counts.attempted[minute]}",
                )
            counts.shown[minute] = max(counts.shown[minute], value)

    def check_audit(self, mask: int, count: int, source: str) -> None:
        """A quorum read of an audit key ended with this sum and count."""
        key = self.series[1]
        audit = self.ledger.audits[key]
        where = f"key {key} by {source}"
        if count != mask.bit_count():
            self.ledger.violate(
                "batches counted more than once",
                f"{where}: {count} events whose sum {mask:#x} names {mask.bit_count()} batches",
            )
            return
        for check, wrong in (
            ("read lacks acknowledged batches", self.acknowledged[0] & ~mask),
            ("read lacks batches that were shown", self.shown[0] & ~mask),
            ("read shows batches that were never sent", mask & ~audit.attempted),
        ):
            if wrong:
                names = ", ".join(workload.audit_sequences(key, wrong))
                self.ledger.violate(check, f"{where}: {names}")
        audit.shown |= mask

    def check_exact(self, values: list[int]) -> bool:
        """Whether the read shows exactly the batches that were sent, all of which are
        acknowledged by then."""
        kind, key = self.series
        if kind == AUDIT_TYPE:
            wanted = self.ledger.audits[key].acknowledged
            return values == [wanted, wanted.bit_count()]
        return values == self.ledger.counts[key].acknowledged
