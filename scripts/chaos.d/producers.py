"""Producers: each seals a batch, sends the same bytes through any nodes until the answer is final,
then seals the next."""

from __future__ import annotations

import asyncio
import random
import time

from cluster import Cluster
from http_client import Answer, HTTPClient, HTTPFailure
from ledger import Entry, Ledger
from workload import Batch, make_batch, producer_id

_BACKOFF_FIRST = 0.02
_BACKOFF_MAX = 1.0
_ANSWER_SECONDS = 6.0
_TWICE_AT_ONCE = 0.05
# Answers after which the same bytes are sent again; all others but 200 are final.
_AGAIN = {429, 500, 503, 504}


class Producers:
    def __init__(
        self, cluster: Cluster, ledger: Ledger, client: HTTPClient, seed: int, pace: float
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._client = client
        self._seed = seed
        self._pace = pace
        self._stopping = False

    def stop(self) -> None:
        """No new batches; those under way are sent until they are resolved."""
        self._stopping = True

    async def run(self, number: int) -> None:
        draw = random.Random(f"producer/{self._seed}/{number}")
        sequence = 0
        while not self._stopping:
            batch = make_batch(self._seed, number, sequence)
            entry = self._ledger.attempt(batch, int(time.time() * 1000))
            began = time.monotonic()
            if not await self.deliver(batch, entry, draw):
                return
            self._ledger.write_seconds.append(time.monotonic() - began)
            sequence += 1
            await asyncio.sleep(self._pace * draw.uniform(0.2, 1.8))

    async def deliver(self, batch: Batch, entry: Entry, draw: random.Random) -> bool:
        """True once the batch is acknowledged; false after an answer that no honest batch may
        get."""
        backoff = _BACKOFF_FIRST
        while True:
            is_final = False
            count = 2 if draw.random() < _TWICE_AT_ONCE else 1
            addresses = [draw.choice(self._cluster.all).http for _ in range(count)]
            # Two at once: neither knows of the other, so that either may be the duplicate.
            if count == 2:
                entry.may_be_counted = True
            outcomes = await asyncio.gather(
                *(self._attempt(batch, entry, address) for address in addresses)
            )
            for answer in outcomes:
                if answer is None:
                    continue
                if answer.status == 200:
                    self._ledger.acknowledge(batch, entry)
                elif answer.status not in _AGAIN:
                    is_final = True
                    self._ledger.violate(
                        "an honest batch was refused for good",
                        f"{batch}: {answer.status} {answer.text()[:300]}",
                    )
            if entry.acknowledged_at is not None:
                return True
            if is_final:
                return False
            await asyncio.sleep(draw.uniform(0, backoff))
            backoff = min(_BACKOFF_MAX, backoff * 2)

    async def _attempt(self, batch: Batch, entry: Entry, address: str) -> Answer | None:
        statistics = self._ledger.statistics
        statistics["attempts"] += 1
        if entry.attempts > 0:
            statistics["retries"] += 1
        entry.attempts += 1
        may_be_counted = entry.may_be_counted
        began = self._ledger.elapsed()

        def note(words: object) -> None:
            ended = self._ledger.elapsed()
            entry.history.append(f"{address} {began:.2f}–{ended:.2f} s: {words}")

        try:
            answer = await post(self._client, self._seed, address, batch, entry.created)
        except HTTPFailure as failure:
            entry.may_be_counted |= failure.was_sent
            statistics["writes without an answer"] += 1
            note(failure)
            return None
        note(answer.status)
        statistics[f"writes answered {answer.status}"] += 1
        if answer.status == 200:
            self.check(batch, answer, may_be_counted)
        elif b'"not-attempted"' not in answer.body:
            entry.may_be_counted = True
        return answer

    def check(self, batch: Batch, answer: Answer, may_be_duplicate: bool) -> None:
        body = answer.json()
        found = (body["outcome"], body["events"], body["counted"], body["dead"])
        wanted = ("counted", batch.events, batch.counted, batch.dead)
        if found != wanted:
            self._ledger.violate(
                "an answer tells other numbers", f"{batch}: {found}, must be {wanted}"
            )
        if body["acknowledged"] < body["required"] and not body["duplicate"]:
            self._ledger.violate("acknowledged by too few", f"{batch}: {answer.text()[:300]}")
        if not body["duplicate"]:
            return
        self._ledger.statistics["acknowledged as duplicate"] += 1
        if may_be_duplicate:
            return
        # Not a fault that loses or doubles anything: the coordinator of a slow attempt may hear of
        # its own work from a home voter that learnt of it otherwise.
        self._ledger.statistics["first attempts that heard duplicate"] += 1


async def post(
    client: HTTPClient,
    seed: int,
    address: str,
    batch: Batch,
    created: int,
    body: bytes | None = None,
) -> Answer:
    return await client.request(
        address,
        "POST",
        "/v1/events?consistency=QUORUM",
        batch.body if body is None else body,
        {
            "Content-Type": "application/x-ndjson",
            "Quipu-Producer": producer_id(seed, batch.producer),
            "Quipu-Sequence": str(batch.sequence),
            "Quipu-Created": str(created),
        },
        timeout=_ANSWER_SECONDS,
    )
