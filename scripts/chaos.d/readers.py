"""Readers: they ask keys, audit keys and whole minutes through any node, all through the run, and
check every number against the ledger."""

from __future__ import annotations

import asyncio
import random

import queries
from cluster import Cluster
from http_client import HTTPClient, HTTPFailure
from ledger import Ledger
from queries import Refused, WrongAnswer
from workload import AUDIT_TYPE, KEYS, MINUTES, TYPE

_ANSWER_SECONDS = 3.0


class Readers:
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
        self._stopping = True

    async def run(self, number: int) -> None:
        draw = random.Random(f"reader/{self._seed}/{number}")
        while not self._stopping:
            address = draw.choice(self._cluster.all).http
            kind = draw.random()
            try:
                if kind < 0.55:
                    await self._read_key(address, draw.choice(KEYS))
                elif kind < 0.8 and self._ledger.audits:
                    # The newest keys are those that change.
                    keys = list(self._ledger.audits)[-24:]
                    await self._read_audit_key(address, draw.choice(keys))
                elif kind < 0.9 or not self._ledger.counts:
                    await self._read_minute(address, draw.randrange(MINUTES))
                else:
                    await self._read_one_replica(address, draw.choice(KEYS))
            except (Refused, HTTPFailure) as failure:
                # An error is honest: only a number can be wrong.
                status = getattr(failure, "status", "without an answer")
                self._ledger.statistics[f"reads answered {status}"] += 1
                await asyncio.sleep(draw.uniform(0, 0.2))
            except WrongAnswer as wrong:
                self._ledger.violate("a wrong answer", str(wrong))
            else:
                self._ledger.statistics["reads answered 200"] += 1
            await asyncio.sleep(self._pace * draw.uniform(0.2, 1.8))

    async def _read_key(self, address: str, key: str) -> None:
        bounds = self._ledger.begin((TYPE, key))
        answer = await queries.ask_series(
            self._client, address, (TYPE, key), "QUORUM", _ANSWER_SECONDS
        )
        source = f"{address} from {'+'.join(answer.replicas)}"
        self._expect_quorum(answer.replicas, source)
        bounds.check_counts(answer.values, source)

    async def _read_audit_key(self, address: str, key: str) -> None:
        bounds = self._ledger.begin((AUDIT_TYPE, key))
        answer = await queries.ask_series(
            self._client, address, (AUDIT_TYPE, key), "QUORUM", _ANSWER_SECONDS
        )
        source = f"{address} from {'+'.join(answer.replicas)}"
        self._expect_quorum(answer.replicas, source)
        bounds.check_audit(answer.values[0], answer.values[1], source)

    async def _read_minute(self, address: str, minute: int) -> None:
        bounds = [self._ledger.begin((TYPE, key)) for key in KEYS]
        answer = await queries.ask_minute(self._client, address, minute, "QUORUM", _ANSWER_SECONDS)
        strangers = set(answer.counts) - set(KEYS)
        if strangers:
            raise WrongAnswer(f"minute {minute} has keys that nobody sent: {sorted(strangers)}")
        source = f"{address} from {'+'.join(answer.replicas)} (top)"
        for bound in bounds:
            bound.check_counts([answer.counts.get(bound.series[1], 0)], source, minute)

    async def _read_one_replica(self, address: str, key: str) -> None:
        """ONE may lag; it may not show what was never sent."""
        answer = await queries.ask_series(
            self._client, address, (TYPE, key), "ONE", _ANSWER_SECONDS
        )
        attempted = self._ledger.counts[key].attempted
        for minute, value in enumerate(answer.values):
            if value > attempted[minute]:
                self._ledger.violate(
                    "ONE shows what was never sent",
                    f"{key} minute {minute} by {address} from {answer.replicas}: {value}, "
                    f"sent before it ended: {attempted[minute]}",
                )

    def _expect_quorum(self, replicas: list[str], source: str) -> None:
        if len(set(replicas)) < 2:
            self._ledger.violate("a quorum read by too few", source)
