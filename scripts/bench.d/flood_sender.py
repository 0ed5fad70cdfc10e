"""One process that sends batches, each under an id of its own: as fast as answers come, or at a
pace, whether answers come or not. What it is told is JSON in its argument; it prints a line of JSON
each second, and at its end what became of each batch. A batch that is refused is not sent again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from http_client import HTTPClient, HTTPFailure

_ANSWER_SECONDS = 15.0
_QUEUE_MAX = 32
_TICK_SECONDS = 0.005
NO_ANSWER = 0


class Sender:
    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        text = Path(told["bodies"]).read_bytes().splitlines(keepends=True)
        size = told["body_events"]
        self._bodies = [b"".join(text[i : i + size]) for i in range(0, len(text), size)]
        self._queue: asyncio.Queue[int | None] = asyncio.Queue(_QUEUE_MAX)
        self._sequence = 0
        # Of each batch: the number of its body, its creation time, and the last status.
        self._outcomes: list[tuple[int, int, int]] = []
        self._second: Counter[str] = Counter()
        self._ends_at = 0.0

    async def run(self) -> None:
        self._ends_at = time.time() + self._told["seconds"]
        addresses, workers = self._told["addresses"], self._told["workers"]
        reporting = asyncio.create_task(self._report())
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(addresses[number % len(addresses)]))
            if self._told["rate"] is not None:
                await self._pace(self._told["rate"])
                for _ in range(workers):
                    await self._queue.put(None)
        reporting.cancel()
        self._print()
        words = {"outcomes": self._outcomes, "processor_seconds": time.process_time()}
        print(json.dumps(words), flush=True)

    async def _pace(self, rate: float) -> None:
        """An open load: a batch is due when its time has come. Where all connections wait for an
        answer it is not sent, which is counted."""
        began, due = time.time(), 0
        while (now := time.time()) < self._ends_at:
            while due < (now - began) * rate:
                due += 1
                self._second["offered"] += 1
                if self._queue.full():
                    self._second["held back"] += 1
                else:
                    self._queue.put_nowait(due)
            await asyncio.sleep(_TICK_SECONDS)

    async def _work(self, address: str) -> None:
        client = HTTPClient()
        while await self._is_due():
            await self._send(client, address)
        client.close()

    async def _is_due(self) -> bool:
        if self._told["rate"] is None:
            self._second["offered"] += 1
            return time.time() < self._ends_at
        return await self._queue.get() is not None

    async def _send(self, client: HTTPClient, address: str) -> None:
        sequence, created = self._sequence, int(time.time() * 1000)
        self._sequence += 1
        body = sequence % len(self._bodies)
        self._outcomes.append((body, created, NO_ANSWER))
        headers = {
            "Content-Type": "application/x-ndjson",
            "Quipu-Producer": self._told["producer"],
            "Quipu-Sequence": str(sequence),
            "Quipu-Created": str(created),
        }
        try:
            answer = await client.request(
                address,
                "POST",
                "/v1/events?consistency=QUORUM",
                self._bodies[body],
                headers,
                _ANSWER_SECONDS,
            )
        except HTTPFailure:
            self._second["no answer"] += 1
            return
        self._outcomes[sequence] = (body, created, answer.status)
        self._second[str(answer.status)] += 1
        if answer.status in (429, 503) and "retry-after" not in answer.headers:
            self._second["without Retry-After"] += 1

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1 - time.time() % 1)
            self._print()

    def _print(self) -> None:
        # The second that has just ended.
        print(json.dumps({"second": int(time.time() - 0.5)} | self._second), flush=True)
        self._second.clear()


if __name__ == "__main__":
    asyncio.run(Sender(json.loads(sys.argv[1])).run())
