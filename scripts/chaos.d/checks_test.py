"""A checker that never fires proves nothing: each rule of the ledger is broken once here, and each
state of a link is looked at from both ends. `python3 scripts/chaos.d/checks_test.py` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import unittest
from typing import Callable

from http_client import HTTPClient, HTTPFailure
from ledger import Ledger
from proxies import Flow, Link
from workload import AUDIT_TYPE, KEYS, TYPE, audit_sequences, make_batch

_PROXY_PORT = 7690
_TARGET_PORT = 7691


def broken_rules(story: Callable[[Ledger], None]) -> list[str]:
    """The checks that a story breaks."""
    ledger = Ledger()
    with contextlib.redirect_stdout(io.StringIO()):
        story(ledger)
    return [violation.check for violation in ledger.violations]


class LedgerTests(unittest.TestCase):
    def setUp(self) -> None:
        self.batch = make_batch(1, 0, 0)
        (self.key, self.minute), self.count = sorted(self.batch.cells.items())[0]

    def values(self, ledger: Ledger, change: int = 0) -> list[int]:
        values = ledger.counts[self.key].attempted.copy()
        values[self.minute] += change
        return values

    def read(self, ledger: Ledger, change: int = 0) -> None:
        ledger.begin((TYPE, self.key)).check_counts(self.values(ledger, change), "a node")

    def test_a_read_of_what_was_acknowledged_breaks_nothing(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.acknowledge(self.batch, ledger.attempt(self.batch, 0))
            self.read(ledger)
            self.read(ledger)

        self.assertEqual(broken_rules(story), [])

    def test_a_batch_without_an_answer_may_be_shown_or_not(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.attempt(self.batch, 0)
            self.read(ledger, -self.count)
            self.read(ledger)

        self.assertEqual(broken_rules(story), [])

    def test_a_read_that_lacks_an_acknowledged_event_is_found(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.acknowledge(self.batch, ledger.attempt(self.batch, 0))
            self.read(ledger, -1)

        self.assertEqual(broken_rules(story), ["read lacks what was acknowledged"])

    def test_what_is_acknowledged_while_a_read_goes_on_may_be_missing(self) -> None:
        def story(ledger: Ledger) -> None:
            entry = ledger.attempt(self.batch, 0)
            bounds = ledger.begin((TYPE, self.key))
            ledger.acknowledge(self.batch, entry)
            bounds.check_counts(self.values(ledger, -self.count), "a node")

        self.assertEqual(broken_rules(story), [])

    def test_a_read_that_goes_back_is_found(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.attempt(self.batch, 0)
            self.read(ledger)
            self.read(ledger, -1)

        self.assertEqual(broken_rules(story), ["read went back"])

    def test_reads_that_overlap_may_differ(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.attempt(self.batch, 0)
            bounds = ledger.begin((TYPE, self.key))
            self.read(ledger)
            bounds.check_counts(self.values(ledger, -1), "a node")

        self.assertEqual(broken_rules(story), [])

    def test_a_read_of_an_event_that_was_not_sent_is_found(self) -> None:
        def story(ledger: Ledger) -> None:
            ledger.attempt(self.batch, 0)
            self.read(ledger, 1)

        self.assertEqual(broken_rules(story), ["read shows what was never sent"])

    def test_the_sum_of_an_audit_key_names_lost_doubled_and_strange_batches(self) -> None:
        def story(ledger: Ledger) -> None:
            for sequence in range(3):
                batch = make_batch(1, 0, sequence)
                ledger.acknowledge(batch, ledger.attempt(batch, 0))
            for mask, count in ((0b111, 3), (0b101, 2), (0b1000, 3), (0b1111, 4)):
                ledger.begin((AUDIT_TYPE, self.batch.audit_key)).check_audit(mask, count, "a node")

        self.assertEqual(
            broken_rules(story),
            [
                "read lacks acknowledged batches",
                "read lacks batches that were shown",
                "batches counted more than once",
                "read shows batches that were never sent",
            ],
        )
        self.assertEqual(audit_sequences("3-2", 0b101), ["3/80", "3/82"])

    def test_a_batch_is_the_same_each_time_and_counts_what_it_says(self) -> None:
        for sequence in range(50):
            batch = make_batch(7, 3, sequence)
            self.assertEqual(batch, make_batch(7, 3, sequence))
            self.assertEqual(sum(batch.cells.values()) + 1 + batch.dead, batch.events)
            self.assertEqual(batch.body.count(b"\n"), batch.events)
            self.assertLessEqual({key for key, _ in batch.cells}, set(KEYS))


class LinkTests(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ends = (asyncio.IncompleteReadError, asyncio.CancelledError, OSError)
            with contextlib.suppress(*ends):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        self.server = await asyncio.start_server(answer, "127.0.0.1", _TARGET_PORT)
        self.link = Link("a→b", _PROXY_PORT, _TARGET_PORT, 1)
        await self.link.open()
        self.client = HTTPClient()

    async def asyncTearDown(self) -> None:
        self.client.close()
        await self.link.close()
        self.server.close()

    async def ask(self, timeout: float = 5) -> str:
        try:
            answer = await self.client.get(f"127.0.0.1:{_PROXY_PORT}", "/", timeout)
        except HTTPFailure as failure:
            return str(failure)
        return answer.text()

    async def test_an_open_link_carries_both_ways(self) -> None:
        self.assertEqual([await self.ask(), await self.ask()], ["ok", "ok"])

    async def test_a_cut_link_resets_and_refuses_until_it_is_healed(self) -> None:
        await self.ask()
        await self.link.set_flow(Flow.CUT)
        for _ in range(2):
            self.assertRegex(await self.ask(), "Connection|IncompleteRead")
        await self.link.heal()
        self.assertEqual(await self.ask(), "ok")

    async def test_a_stalled_link_takes_connections_and_delivers_late(self) -> None:
        await self.link.set_flow(Flow.STALLED)
        late = asyncio.create_task(self.ask())
        done, _ = await asyncio.wait([late], timeout=0.2)
        self.assertEqual(done, set())
        await self.link.heal()
        self.assertEqual(await late, "ok")

    async def test_a_slow_link_is_slow(self) -> None:
        await self.ask()
        self.link.set_speed(delay=0.2)
        began = asyncio.get_running_loop().time()
        self.assertEqual(await self.ask(), "ok")
        self.assertGreater(asyncio.get_running_loop().time() - began, 0.19)

    async def test_a_link_to_nobody_resets(self) -> None:
        self.server.close()
        await self.server.wait_closed()
        self.client.close()
        self.assertRegex(await self.ask(), "Connection|IncompleteRead")


if __name__ == "__main__":
    unittest.main()
