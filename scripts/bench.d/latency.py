"""One batch of 1,000 events after the other at QUORUM, on one kept connection to an idle cluster of
three: what a single careful client waits for, fsync on two nodes included."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
import uuid

import terminal
from measured import BODY_EVENTS, Measured
from peer import PeerError
from report import percentile

_WARM_UP = 300
_SYNCS = 300
_SYNC_BYTES = 64 << 10
_P50_MAX_MS = 3.0
_P99_MAX_MS = 10.0


class Latency(Measured):
    async def run(self) -> None:
        count = self.options.batches
        terminal.title(f"A batch of {BODY_EVENTS:,} events at QUORUM, idle cluster of 3, RF 3")
        bodies = self.make_bodies()
        syncs = await asyncio.to_thread(self._time_syncs)
        try:
            await self.start()
            # What the start left to do is not what is measured.
            await asyncio.sleep(3)
            terminal.say(f"POST {self.cluster.all[0].http}/v1/events, {count:,} times after 300")
            address = self.cluster.all[0].http
            seconds = await asyncio.to_thread(_time_batches, address, bodies, _WARM_UP + count)
            times = [(_WARM_UP + count + len(bodies) - 1 - i) // len(bodies) for i in range(32)]
            await self.check_counts(bodies, times)
        finally:
            await self.stop()
        self._judge(seconds[_WARM_UP:], syncs)

    def _time_syncs(self) -> list[float]:
        """What this disk takes for an append of 64 KiB and its fdatasync: below that no batch
        can be."""
        seconds = []
        with (self.directory / "sync").open("wb", buffering=0) as file:
            for _ in range(_SYNCS):
                began = time.perf_counter()
                file.write(bytes(_SYNC_BYTES))
                os.fdatasync(file.fileno())
                seconds.append(time.perf_counter() - began)
        return seconds

    def _judge(self, seconds: list[float], syncs: list[float]) -> None:
        for name, values in (("batch", seconds), ("sync_of_64KiB", syncs)):
            shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
            found = {f"{k}_ms": round(percentile(values, at) * 1000, 3) for k, at in shares}
            self.figures[name] = found
            words = "  ".join(f"{key[:-3]} {value:.2f} ms" for key, value in found.items())
            terminal.say(f"{'a batch' if name == 'batch' else 'an fdatasync of 64 KiB'}: {words}")
        for name, limit in (("p50", _P50_MAX_MS), ("p99", _P99_MAX_MS)):
            value = self.figures["batch"][f"{name}_ms"]
            self.target(value <= limit, f"a batch, {name}: {value:.2f} ms (at most {limit:g})")


def _time_batches(address: str, bodies: list[bytes], count: int) -> list[float]:
    connection = http.client.HTTPConnection(address, timeout=10)
    producer = str(uuid.uuid4())
    seconds = []
    for sequence in range(count):
        headers = {
            "Content-Type": "application/x-ndjson",
            "Quipu-Producer": producer,
            "Quipu-Sequence": str(sequence),
            "Quipu-Created": str(int(time.time() * 1000)),
        }
        body = bodies[sequence % len(bodies)]
        began = time.perf_counter()
        connection.request("POST", "/v1/events?consistency=QUORUM", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        seconds.append(time.perf_counter() - began)
        if answer.status != 200 or json.loads(text)["counted"] != BODY_EVENTS:
            raise PeerError(f"{address} answers {answer.status}: {text[:200]!r}")
    connection.close()
    return seconds
