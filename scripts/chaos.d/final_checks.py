"""What must hold when all is healed: every count through every node, every id a duplicate, every
dead letter there, and the replicas' own word that they agree."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import queries
import terminal
import workload
from cluster import Cluster, Node
from http_client import HTTPClient, HTTPFailure
from ledger import Entry, Ledger, Series
from producers import post
from queries import Refused, WrongAnswer
from workload import AUDIT_TYPE, TYPE, make_batch, producer_id

_SETTLE_SECONDS = 60
_AT_ONCE = 12
_ATTEMPTS = 20
_NAMED_MAX = 5
_OUTCOMES = 200


class FinalChecks:
    def __init__(
        self, cluster: Cluster, ledger: Ledger, client: HTTPClient, seed: int, binary: Path
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._client = client
        self._seed = seed
        self._binary = binary

    async def run(self) -> None:
        terminal.title("Every count")
        for node in self._cluster.all:
            await self.expect_exact(node, "QUORUM")
        asked: set[tuple[Series, str]] = set()
        for node in self._cluster.all:
            asked |= await self._expect_exact_in_time(node)
        terminal.say(
            f"at ONE {len(asked):,} of the {len(self._ledger.all_series()) * 3:,} replicas of keys "
            "have answered"
        )
        await self._expect_lists()
        await self._expect_outcomes()
        terminal.title("The same bytes under the same ids, once more")
        await self._send_all_again()
        for node in self._cluster.all:
            await self.expect_exact(node, "QUORUM")
        terminal.title("What the nodes say of themselves")
        await self._expect_no_unreadable_messages()
        await self.audit()

    # ---- counts

    async def _ask(self, node: Node, series: Series, level: str) -> queries.SeriesAnswer | str:
        """The answer, or why there is none after some attempts."""
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                return await queries.ask_series(self._client, node.http, series, level)
            except (Refused, HTTPFailure) as failure:
                reason = str(failure)
                await asyncio.sleep(0.1 * (attempt + 1))
            except WrongAnswer as wrong:
                return str(wrong)
        return reason

    async def _differences(
        self, node: Node, level: str
    ) -> tuple[list[str], set[tuple[Series, str]]]:
        """What is not exact through this node, in words, and which replicas answered of what."""
        differences: list[str] = []
        replicas: set[tuple[Series, str]] = set()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def compare(series: Series) -> None:
            async with gate:
                bounds = self._ledger.begin(series)
                answer = await self._ask(node, series, level)
            if isinstance(answer, str):
                differences.append(f"{series[0]} {series[1]}: {answer}")
                return
            replicas.update((series, replica) for replica in answer.replicas)
            if not bounds.check_exact(answer.values):
                differences.append(self._describe(series, answer))

        await asyncio.gather(*(compare(series) for series in self._ledger.all_series()))
        return sorted(differences), replicas

    def _describe(self, series: Series, answer: queries.SeriesAnswer) -> str:
        kind, key = series
        by = "+".join(answer.replicas)
        if kind == AUDIT_TYPE:
            wanted = self._ledger.audits[key].acknowledged
            mask, count = answer.values
            lost = workload.audit_sequences(key, wanted & ~mask)
            extra = workload.audit_sequences(key, mask & ~wanted)
            return f"audit {key} from {by}: {count} events, lacks {lost}, has {extra}"
        wrong = [
            f"{workload.minute_text(minute)[11:16]} {value} of {wanted}"
            for minute, (value, wanted) in enumerate(
                zip(answer.values, self._ledger.counts[key].acknowledged)
            )
            if value != wanted
        ]
        return f"{key} from {by}: " + ", ".join(wrong)

    def _number_of_cells(self) -> int:
        cells = sum(
            sum(1 for count in counts.acknowledged if count)
            for counts in self._ledger.counts.values()
        )
        return cells + len(self._ledger.audits)

    async def expect_exact(self, node: Node, level: str) -> None:
        differences, _ = await self._differences(node, level)
        self._report(node, level, differences, "")

    async def _expect_exact_in_time(self, node: Node) -> set[tuple[Series, str]]:
        """ONE may lag, but not for long. Returns which replicas showed which keys."""
        began = time.monotonic()
        while True:
            differences, replicas = await self._differences(node, "ONE")
            if not differences or time.monotonic() - began > _SETTLE_SECONDS:
                break
            await asyncio.sleep(0.5)
        self._report(node, "ONE", differences, f" after {time.monotonic() - began:.1f} s")
        return replicas

    def _report(self, node: Node, level: str, differences: list[str], after: str) -> None:
        if not differences:
            terminal.hold(
                f"{node.name} at {level}: all {self._number_of_cells():,} counts are right{after}"
            )
            return
        for difference in differences[:_NAMED_MAX]:
            self._ledger.violate(f"not exact through {node.name} at {level}", difference)
        if len(differences) > _NAMED_MAX:
            terminal.fail(f"… and {len(differences) - _NAMED_MAX} more keys")

    # ---- lists

    async def _expect_lists(self) -> None:
        wanted = {
            TYPE: sorted(
                key for key, counts in self._ledger.counts.items() if any(counts.attempted)
            ),
            AUDIT_TYPE: sorted(self._ledger.audits),
        }
        dead = Counter(
            {
                (producer_id(self._seed, entry.producer), entry.sequence): entry.dead
                for entry in self._ledger.entries.values()
                if entry.dead
            }
        )
        for node in self._cluster.all:
            try:
                for kind, keys in wanted.items():
                    found = sorted(await queries.ask_keys(self._client, node.http, kind))
                    if found != keys:
                        self._ledger.violate(
                            f"keys of {kind} through {node.name}",
                            f"missing {sorted(set(keys) - set(found))[:9]}, "
                            f"never sent {sorted(set(found) - set(keys))[:9]}",
                        )
                letters = await queries.ask_dead_letters(self._client, node.http)
            except (Refused, HTTPFailure, WrongAnswer) as failure:
                self._ledger.violate(f"lists through {node.name}", str(failure))
                continue
            if letters != dead:
                self._ledger.violate(
                    f"dead letters through {node.name}",
                    f"{letters.total()}, must be {dead.total()}; missing "
                    f"{sorted((dead - letters).items())[:9]}, "
                    f"never made {sorted((letters - dead).items())[:9]}",
                )
            else:
                terminal.hold(f"{node.name}: all keys, and all {dead.total()} dead letters")

    async def _expect_outcomes(self) -> None:
        """Of some batches, by their ids alone."""
        draw = random.Random(f"outcomes/{self._seed}")
        entries = [e for e in self._ledger.entries.values() if e.acknowledged_at is not None]
        wrong = 0
        for entry in (chosen := draw.sample(entries, min(_OUTCOMES, len(entries)))):
            node = draw.choice(self._cluster.all)
            producer = producer_id(self._seed, entry.producer)
            wanted = ("counted", True, entry.events, entry.events - entry.dead, entry.dead)
            found: object
            try:
                found = await queries.ask_outcome(self._client, node.http, producer, entry.sequence)
            except (Refused, HTTPFailure) as failure:
                found = failure
            if found != wanted:
                wrong += 1
                self._ledger.violate(
                    f"the outcome of an acknowledged batch through {node.name}",
                    f"batch {entry.producer}/{entry.sequence}: {found}, must be {wanted}",
                )
        if not wrong:
            terminal.hold(f"the outcomes of {len(chosen)} batches by their ids")

    # ---- retries

    async def _send_all_again(self) -> None:
        draw = random.Random(f"again/{self._seed}")
        entries = [e for e in self._ledger.entries.values() if e.acknowledged_at is not None]
        gate = asyncio.Semaphore(_AT_ONCE)
        wrong: list[str] = []

        async def again(entry: Entry, address: str) -> None:
            batch = make_batch(self._seed, entry.producer, entry.sequence)
            words = ""
            async with gate:
                for attempt in range(_ATTEMPTS):
                    try:
                        answer = await post(self._client, self._seed, address, batch, entry.created)
                    except HTTPFailure as failure:
                        words = str(failure)
                    else:
                        words = f"{answer.status} {answer.text()[:200]}"
                        if answer.status not in (429, 503, 504):
                            break
                    await asyncio.sleep(0.1 * (attempt + 1))
                else:
                    wrong.append(f"{batch}: {words}")
                    return
            if answer.status != 200:
                wrong.append(f"{batch}: {words}")
                return
            body = answer.json()
            found = (body["duplicate"], body["events"], body["counted"], body["dead"])
            if found != (True, batch.events, batch.counted, batch.dead):
                wrong.append(f"{batch}: {words}")

        await asyncio.gather(
            *(again(entry, draw.choice(self._cluster.all).http) for entry in entries)
        )
        for words in sorted(wrong)[:_NAMED_MAX]:
            self._ledger.violate("sent again, not answered as a duplicate", words)
        if not wrong:
            terminal.hold(f"{len(entries):,} batches sent again: all are duplicates")
        elif len(wrong) > _NAMED_MAX:
            terminal.fail(f"… and {len(wrong) - _NAMED_MAX} more batches")

    # ---- the nodes' own word

    async def _expect_no_unreadable_messages(self) -> None:
        for node in self._cluster.all:
            name = "quipu_peer_messages_unreadable_total"
            count = await self._cluster.metric(node, name)
            if count:
                self._ledger.violate("unreadable messages", f"{node.name}: {name} {count:g}")

    async def audit(self) -> None:
        """`quipu audit`, where the version has it. Lag is no difference, but it ends."""
        nodes = ",".join(node.http for node in self._cluster.all)
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            process = await asyncio.create_subprocess_exec(
                str(self._binary),
                "audit",
                "--node",
                nodes,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            words = output.decode("utf-8", "replace").strip()
            if process.returncode == 2 and "not in this version" in words:
                terminal.say("quipu audit: not in this version, skipped")
                return
            if process.returncode == 0:
                terminal.hold("quipu audit: clean")
                return
            if time.monotonic() > deadline:
                self._ledger.violate("quipu audit is not clean", words[-500:])
                return
            await asyncio.sleep(1)
