"""For each node one writer and one reader that speak to it alone, at a steady pace: what they wait
for is the node's latency, and what they read is checked against a ledger of what was sent. A batch
that its node does not take goes on to the others, under the same id, until it is counted."""

from __future__ import annotations

import asyncio
import time

import queries
from cluster import Cluster, Node
from http_client import HTTPClient, HTTPFailure
from ledger import Entry, Ledger
from producers import post
from queries import Refused, WrongAnswer
from workload import KEYS, TYPE, Batch, make_batch

_PACE_SECONDS = 0.1
_READ_SECONDS = 5.0
_BACKOFF_MAX = 1.0
_AGAIN = {429, 500, 503, 504}


class Probes:
    def __init__(self, cluster: Cluster, ledger: Ledger, client: HTTPClient, seed: int) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._client = client
        self._seed = seed
        self._stopping = False
        # Seconds of operations since they were last taken, by node.
        self._writes: dict[str, list[float]] = {node.name: [] for node in cluster.all}
        self._reads: dict[str, list[float]] = {node.name: [] for node in cluster.all}

    def stop(self) -> None:
        """No new batches; those under way are sent until they are counted."""
        self._stopping = True

    def take(self, name: str) -> tuple[list[float], list[float]]:
        """Seconds of writes and of reads since the last time."""
        taken = self._writes[name], self._reads[name]
        self._writes[name], self._reads[name] = [], []
        return taken

    async def write(self, number: int) -> None:
        node = self._cluster.all[number]
        sequence = 0
        while not self._stopping:
            began = time.monotonic()
            batch = make_batch(self._seed, number, sequence)
            entry = self._ledger.attempt(batch, int(time.time() * 1000))
            if await self._attempt(batch, entry, node):
                self._writes[node.name].append(time.monotonic() - began)
            else:
                await self._deliver(batch, entry, number)
            # What is counted is part of the sums; the ledger of an hour would not fit else.
            del self._ledger.entries[batch.producer, batch.sequence]
            sequence += 1
            await asyncio.sleep(max(0.0, began + _PACE_SECONDS - time.monotonic()))

    async def _deliver(self, batch: Batch, entry: Entry, number: int) -> None:
        attempt = 0
        while True:
            attempt += 1
            await asyncio.sleep(min(_BACKOFF_MAX, 0.05 * attempt))
            node = self._cluster.all[(number + attempt) % len(self._cluster.all)]
            if await self._attempt(batch, entry, node):
                return

    async def _attempt(self, batch: Batch, entry: Entry, node: Node) -> bool:
        statistics = self._ledger.statistics
        try:
            answer = await post(self._client, self._seed, node.http, batch, entry.created)
        except HTTPFailure:
            statistics["writes without an answer"] += 1
            return False
        statistics[f"writes answered {answer.status}"] += 1
        if answer.status == 200:
            body = answer.json()
            found = body["events"], body["counted"], body["dead"]
            if found != (batch.events, batch.counted, batch.dead):
                self._ledger.violate("an answer tells other numbers", f"{batch}: {found}")
            self._ledger.acknowledge(batch, entry)
            return True
        if answer.status not in _AGAIN:
            self._ledger.violate(
                "an honest batch was refused", f"{batch}: {answer.status} {answer.text()[:200]}"
            )
        return False

    async def read(self, number: int) -> None:
        node = self._cluster.all[number]
        turn = 0
        while not self._stopping:
            began = time.monotonic()
            series = (TYPE, KEYS[turn % len(KEYS)])
            bounds = self._ledger.begin(series)
            try:
                answer = await queries.ask_series(
                    self._client, node.http, series, "QUORUM", _READ_SECONDS
                )
            except (Refused, HTTPFailure) as failure:
                status = getattr(failure, "status", "without an answer")
                self._ledger.statistics[f"reads answered {status}"] += 1
            except WrongAnswer as wrong:
                self._ledger.violate("a wrong answer", str(wrong))
            else:
                self._reads[node.name].append(time.monotonic() - began)
                self._ledger.statistics["reads answered 200"] += 1
                bounds.check_counts(answer.values, f"{node.name} from {answer.replicas}")
            turn += 1
            await asyncio.sleep(max(0.0, began + _PACE_SECONDS - time.monotonic()))
