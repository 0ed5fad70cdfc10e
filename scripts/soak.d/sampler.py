"""What each node takes of the machine and how quick it is, every few seconds, into a table that
grows while the run goes on: it can be looked at before the end, and stays after a crash."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from cluster import Cluster, Node
from http_client import HTTPFailure
from probes import Probes
from report import percentile


@dataclass(frozen=True)
class Sample:
    """Of one node. Nil: it did not run, or nobody was served by it."""

    at: float
    node: str
    # Which start of the process this is.
    start: int
    rss: int | None
    descriptors: int | None
    threads: int | None
    log: int
    tables: int
    history: int
    # Of its memory, what it says that the index of batches takes.
    index: int | None
    write_p50: float | None
    write_p99: float | None
    read_p50: float | None
    read_p99: float | None


COLUMNS = tuple(field.name for field in fields(Sample))


class Sampler:
    def __init__(self, cluster: Cluster, probes: Probes, every: float, file: TextIO) -> None:
        self._cluster = cluster
        self._probes = probes
        self._every = every
        self._file = file
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        file.write("\t".join(COLUMNS) + "\n")

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            await asyncio.sleep(max(0.0, number * self._every - self.elapsed()))
            for node in self._cluster.all:
                index = await self._index_of(node)
                self._take(await asyncio.to_thread(self._look, node, index))

    async def _index_of(self, node: Node) -> int | None:
        if not node.is_running:
            return None
        try:
            return int(await self._cluster.metric(node, "quipu_index_bytes"))
        except HTTPFailure:
            return None

    def _take(self, sample: Sample) -> None:
        self.samples.append(sample)
        cells = (getattr(sample, name) for name in COLUMNS)
        self._file.write("\t".join(_text(cell) for cell in cells) + "\n")
        self._file.flush()

    def _look(self, node: Node, index: int | None) -> Sample:
        writes, reads = self._probes.take(node.name)
        rss, descriptors, threads = _process(node)
        return Sample(
            at=round(self.elapsed(), 1),
            node=node.name,
            start=node.starts,
            rss=rss,
            descriptors=descriptors,
            threads=threads,
            log=size_of(node.data / "log"),
            tables=size_of(node.data / "sstables"),
            history=size_of(node.data / "history"),
            index=index,
            write_p50=_milliseconds(writes, 0.5),
            write_p99=_milliseconds(writes, 0.99),
            read_p50=_milliseconds(reads, 0.5),
            read_p99=_milliseconds(reads, 0.99),
        )


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _milliseconds(seconds: list[float], share: float) -> float | None:
    return round(percentile(seconds, share) * 1000, 2) if seconds else None


def _process(node: Node) -> tuple[int | None, int | None, int | None]:
    """Resident bytes, open descriptors, threads. It may end at any moment."""
    process = node.process
    if process is None or process.returncode is not None:
        return None, None, None
    folder = Path(f"/proc/{process.pid}")
    try:
        words = dict(
            line.split(":", 1) for line in (folder / "status").read_text().splitlines()
        )
        descriptors = len(os.listdir(folder / "fd"))
        return int(words["VmRSS"].split()[0]) * 1024, descriptors, int(words["Threads"])
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None, None, None


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder, which come and go meanwhile."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total
