"""The good client beside hostile ones, a process of its own: each 50 ms a write and a read on one
kept connection, and twice a second a newcomer that reads on a connection of its own. An operation
counts from the moment when it was due, so that waiting behind a slow one is not hidden. It prints a
line of JSON for each, until it is told to stop (SIGTERM), and how much it wrote at its end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

from http_client import HTTPClient, HTTPFailure
from workload import minute_text

TYPE = "good"
KEY = "patient"
_PACE_SECONDS = 0.05
_NEWCOMER_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
_EVENTS = 20
_AGAIN = (429, 503, 504)


class GoodClient:
    def __init__(self, address: str, producer: str) -> None:
        self._address = address
        self._producer = producer
        self._acknowledged = 0
        self._attempted = 0
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        newcomers = asyncio.create_task(self._invite())
        client = HTTPClient()
        began, turn = time.monotonic(), 0
        while not self._stopping:
            due = began + turn * _PACE_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._write(client, turn, due)
            await self._read(client, "read", max(due, time.monotonic()))
            # A turn that came too late altogether is left out, not made up for in a burst.
            turn = max(turn + 1, int((time.monotonic() - began) / _PACE_SECONDS))
        newcomers.cancel()
        client.close()
        print(json.dumps({"acknowledged": self._acknowledged}), flush=True)

    async def _write(self, client: HTTPClient, sequence: int, due: float) -> None:
        line = f'{{"type":"{TYPE}","key":"{KEY}","time":"{minute_text(sequence % 20)}"}}\n'
        headers = {
            "Content-Type": "application/x-ndjson",
            "Quipu-Producer": self._producer,
            "Quipu-Sequence": str(sequence),
            "Quipu-Created": str(int(time.time() * 1000)),
        }
        self._attempted += _EVENTS
        trouble = ""
        while True:
            try:
                answer = await client.request(
                    self._address,
                    "POST",
                    "/v1/events?consistency=QUORUM",
                    line.encode() * _EVENTS,
                    headers,
                    _ANSWER_SECONDS,
                )
            except HTTPFailure as failure:
                trouble = trouble or str(failure)
            else:
                if answer.status == 200:
                    break
                trouble = trouble or f"{answer.status} {answer.text()[:120]}"
                if answer.status not in _AGAIN:
                    _tell("write", due, trouble)
                    return
            await asyncio.sleep(0.05)
        self._acknowledged += _EVENTS
        _tell("write", due, trouble)

    async def _read(self, client: HTTPClient, kind: str, due: float) -> None:
        target = f"/v1/counts/{TYPE}/{KEY}?step=all&consistency=QUORUM"
        least = self._acknowledged
        try:
            answer = await client.get(self._address, target, _ANSWER_SECONDS)
        except HTTPFailure as failure:
            _tell(kind, due, str(failure))
            return
        if answer.status != 200:
            _tell(kind, due, f"{answer.status} {answer.text()[:120]}")
            return
        count = int(answer.json()["total"]["count"])
        if not least <= count <= self._attempted:
            words = f"{count}, acknowledged {least}, sent {self._attempted}"
            print(json.dumps({"wrong": words}), flush=True)
        _tell(kind, due, "")

    async def _invite(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._arrive(time.monotonic()))
                await asyncio.sleep(_NEWCOMER_SECONDS)

    async def _arrive(self, due: float) -> None:
        client = HTTPClient()
        try:
            await self._read(client, "newcomer", due)
        finally:
            client.close()


def _tell(kind: str, due: float, trouble: str) -> None:
    waited = time.monotonic() - due
    said = {"kind": kind, "due": due, "seconds": round(waited, 6), "trouble": trouble}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(GoodClient(sys.argv[1], sys.argv[2]).run())
