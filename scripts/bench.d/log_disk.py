"""What the log takes of the disk while a million events come in each second and all nodes are up.
It keeps what is not yet held by all and in tables, and lets go of the rest: this says how much that
is, at its greatest and when the events have ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import terminal
from cluster import Node
from http_client import HTTPFailure
from measured import Measured

_RATE = 1_000_000
_SAMPLE_SECONDS = 1
# Then what is behind the events is done: flushes, seals, what they let go of.
_SETTLE_SECONDS = 60
# A sender that falls behind the rate by more is not measured as one that keeps it.
_RATE_SHARE = 0.9


@dataclass
class Kept:
    """Of one node, sample by sample: files of the log, and their bytes on the disk."""

    files: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


class LogDisk(Measured):
    async def run(self) -> None:
        events = self.options.events
        copies = max(1, -(-int(self.options.log_seconds * _RATE) // events))
        terminal.title(
            f"Disk of the log, three nodes, RF 3: {copies * events:,} events at {_RATE:,} a second"
        )
        file = self.directory / "events.ndjson"
        await self.generate(file, "--keys", "100000")
        self._kept = {node.name: Kept() for node in self.cluster.all}
        try:
            await self.start()
            watching = asyncio.create_task(self._watch())
            try:
                summary = await self.send([file] * copies, "--rate", f"{_RATE}/s")
                sent = {name: kept.sizes[-1] for name, kept in self._kept.items() if kept.sizes}
                written = [
                    int(await self.cluster.metric(node, "quipu_log_bytes_total"))
                    for node in self.cluster.all
                ]
                await asyncio.sleep(_SETTLE_SECONDS)
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
        finally:
            await self.stop()
        self._tell(summary["events_per_second"], sent, written)

    async def _watch(self) -> None:
        with (self.directory / "log.tsv").open("w") as table:
            while True:
                for node in self.cluster.all:
                    kept = self._kept[node.name]
                    with contextlib.suppress(HTTPFailure):
                        kept.files.append(int(await self.cluster.metric(node, "quipu_log_files")))
                        kept.sizes.append(_bytes_of_log(node))
                        found = node.name, kept.files[-1], kept.sizes[-1]
                        table.write("\t".join(map(str, (int(time.time()), *found))) + "\n")
                await asyncio.sleep(_SAMPLE_SECONDS)

    def _tell(self, rate: int, sent: dict[str, int], written: list[int]) -> None:
        self.figures["events_per_second"] = rate
        self.target(
            rate >= _RATE_SHARE * _RATE,
            f"{rate:,} events/s came in (at least {_RATE_SHARE:.0%} of {_RATE:,})",
        )
        for node, bytes_written in zip(self.cluster.all, written):
            kept = self._kept[node.name]
            if not kept.sizes or node.name not in sent:
                self.fail(f"{node.name} never answered: nothing is known of its log")
                continue
            greatest = max(kept.sizes)
            self.figures[node.name] = {
                "written": bytes_written,
                "greatest": greatest,
                "greatest_files": max(kept.files),
                "when_sent": sent[node.name],
                "end": kept.sizes[-1],
                "end_files": kept.files[-1],
            }
            terminal.say(
                f"{node.name}: {bytes_written >> 20:,} MiB written; kept at most "
                f"{greatest >> 20:,} MiB in {max(kept.files)} files, "
                f"{sent[node.name] >> 20:,} MiB when all was sent, {kept.sizes[-1] >> 20:,} MiB in "
                f"{kept.files[-1]} files {_SETTLE_SECONDS} s later"
            )


def _bytes_of_log(node: Node) -> int:
    """A file may go between the listing and the look at it."""
    total = 0
    for file in (node.data / "log").glob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total
