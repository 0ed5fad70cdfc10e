"""What a round came to, for people and as JSON."""

from __future__ import annotations

from typing import Any

import terminal
from ledger import Ledger
from nemesis import Nemesis
from options import Options


def percentile(values: list[float], share: float) -> float:
    """The smallest value that is at least as great as this share of all; 0 of none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


class Report:
    def __init__(
        self, options: Options, ledger: Ledger, nemesis: Nemesis, bytes_carried: int
    ) -> None:
        self._options = options
        self._ledger = ledger
        self._nemesis = nemesis
        self._bytes_carried = bytes_carried

    @property
    def is_clean(self) -> bool:
        return not self._ledger.violations

    @property
    def _ordered_statistics(self) -> list[tuple[str, int]]:
        return sorted(self._ledger.statistics.items())

    def show(self) -> None:
        terminal.title(f"Result (seed {self._options.seed}, {self._options.seconds:g} s)")
        acts = sorted(set(self._nemesis.done) | set(self._nemesis.skipped))
        for name in acts:
            skipped = self._nemesis.skipped[name]
            note = f"  ({skipped} more found nobody or no quiet)" if skipped else ""
            terminal.say(f"  {name:42} {self._nemesis.done[name]:>10,}{note}")
        terminal.say("")
        entries = self._ledger.entries.values()
        rows = [
            ("batches sent", len(entries)),
            ("events sent", sum(entry.events for entry in entries)),
            ("batches without an outcome", len(self._ledger.unresolved)),
            ("bytes between nodes", self._bytes_carried),
        ]
        for name, count in rows + self._ordered_statistics:
            terminal.say(f"  {name:42} {count:>10,}")
        seconds = self._ledger.write_seconds
        terminal.say(
            f"  {'a batch, with its retries, p50 · p99 · max':42} "
            f"{percentile(seconds, 0.5) * 1000:,.0f} ms · "
            f"{percentile(seconds, 0.99) * 1000:,.0f} ms · {max(seconds, default=0):.1f} s"
        )
        if self.is_clean:
            terminal.hold("0 violations")
        else:
            terminal.fail(f"{len(self._ledger.violations)} violations")

    def json(self) -> dict[str, Any]:
        return {
            "seed": self._options.seed,
            "seconds": self._options.seconds,
            "faults": sorted(self._options.faults),
            "acts": dict(sorted(self._nemesis.done.items())),
            "skipped": dict(sorted(self._nemesis.skipped.items())),
            "batches": len(self._ledger.entries),
            "events": sum(entry.events for entry in self._ledger.entries.values()),
            "unresolved": len(self._ledger.unresolved),
            "bytes_between_nodes": self._bytes_carried,
            "statistics": dict(self._ordered_statistics),
            "violations": [
                {"at": round(v.at, 3), "check": v.check, "detail": v.detail}
                for v in self._ledger.violations
            ],
        }
