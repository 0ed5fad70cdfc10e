"""A million keys with attributes: loaded through one node of three, spread to the others, learnt by
one that was away, grouped by, there again after a restart, and after SQLite's file was destroyed
with no peer up. Every group and every sampled row is compared with what was loaded."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import terminal
from cluster import Node
from http_client import HTTPFailure
from measured import Measured
from peer import PeerError, memory_peak
from peer_quipu import process_id, processor_seconds

_CHANNELS = 20_000
_CATEGORIES = 40
# A category that few keys have, so that its windows can be asked for.
_RARE = 2_000
_TYPE = "view"
_RARE_TARGET = f"/v1/counts/{_TYPE}/rare?by=category&step=1h"
_WAIT_SECONDS = 600
_SAMPLES = 200
# Greatest resident memory of a node, without and with a million rows.
_MEMORY_MAX = 1536 << 20


class Attributes(Measured):
    async def run(self) -> None:
        self._keys = self.options.keys
        terminal.title(f"Attributes of {self._keys:,} keys, three nodes")
        rows = self.directory / "videos.ndjson"
        await asyncio.to_thread(self._write_rows, rows)
        terminal.say(f"{rows.stat().st_size / self._keys:.0f} bytes a row of NDJSON")
        try:
            await self.start()
            await self._measure(rows)
        finally:
            await self.stop()

    async def _measure(self, rows: Path) -> None:
        first, second, third = self.cluster.all
        await self._count_events()
        before = {node.name: memory_peak(process_id(node)) for node in self.cluster.all}
        await third.kill()
        await self._timed("load through n1", first, self._load(first, rows))
        await self._timed("spread to n2", second, self._until(lambda: self._has_all(second)))
        await third.start()
        await self._timed("n3, which was away", third, self._until(lambda: self._has_all(third)))
        for node in self.cluster.all:
            peak = memory_peak(process_id(node))
            grown = (peak - before[node.name]) >> 20
            self.figures[f"memory of {node.name}, MiB"] = peak >> 20
            self.target(
                peak < _MEMORY_MAX,
                f"memory of {node.name}: {peak >> 20} MiB, {grown} more than before",
            )
        await self._group(first)
        await self._until(lambda: self._is_copied(first))
        for name in ("quipu_attribute_copy_rows", "quipu_attribute_copy_bytes"):
            self.figures[name] = int(await self.cluster.metric(first, name))
            terminal.say(f"{name} {self.figures[name]:,}")
        size = sum(file.stat().st_size for file in first.data.glob("catalog.sqlite*"))
        terminal.say(f"catalog.sqlite {size:,} bytes")
        await first.stop()
        await first.start()
        await self._timed("restart of n1", first, self._until(lambda: self._shows(first, 7)))
        self._check("n1 after its restart", await self._top(first))
        await self._lose(first, [second, third])

    async def _lose(self, first: Node, others: list[Node]) -> None:
        """The file is destroyed while the node is down, and no peer is up when it starts."""
        for node in self.cluster.all:
            await node.stop()
        with (first.data / "catalog.sqlite").open("r+b") as file:
            file.write(b"\x5a" * 4096)
        await first.start()
        await self._timed(
            "n1 alone with a lost file: shown", first, self._until(lambda: self._has_all(first))
        )
        await self._timed(
            "n1 alone: all in a new file", first, self._until(lambda: self._is_restored(first))
        )
        for node in others:
            await node.start()
        await self._timed(
            "n1 and its peers: no longer stale", first, self._until(lambda: self._shows(first, 7))
        )
        self._check("n1 after its file was lost", await self._top(first))

    # ---- input

    def _write_rows(self, path: Path) -> None:
        text = "a title of some words that says what is to be seen " * 3
        with path.open("w") as file:
            for number in range(self._keys):
                row = {"key": _key(number), **_row(number), "title": f"{number} {text}"}
                file.write(json.dumps(row) + "\n")

    async def _count_events(self) -> None:
        """An event of each key, so that groups are of all of them."""
        path = self.directory / "events.ndjson"
        with path.open("w") as file:
            for number in range(self._keys):
                file.write(
                    f'{{"type":"{_TYPE}","key":"{_key(number)}",'
                    f'"time":"2026-01-01T00:{number % 60:02}:00Z"}}\n'
                )
        addresses = ",".join(node.http for node in self.cluster.all)
        await self.run_quipu("send", str(path), "--node", addresses, "--json")

    async def _load(self, node: Node, rows: Path) -> None:
        await self.run_quipu("attributes", "load", str(rows), "--node", node.http)

    # ---- what is asked

    async def _timed(self, what: str, node: Node, work: Awaitable[Any]) -> Any:
        """How long it takes, and what it takes of the processors in a node, which other work on
        the machine does not change."""
        began, used = time.monotonic(), processor_seconds(node)
        result = await work
        seconds, used = time.monotonic() - began, processor_seconds(node) - used
        self.figures[what] = round(seconds, 2)
        self.figures[f"{what}, processor"] = round(used, 2)
        rate = self._keys / max(seconds, 0.001)
        terminal.say(
            f"{what:40} {seconds:8.2f} s  {rate:12,.0f} rows/s  {used:7.2f} s of processor"
        )
        return result

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        end = time.monotonic() + _WAIT_SECONDS
        while not await holds():
            if time.monotonic() > end:
                raise PeerError(f"not within {_WAIT_SECONDS} s")
            await asyncio.sleep(0.05)

    async def _get(self, node: Node, target: str) -> Any:
        try:
            answer = await self.client.get(node.http, target, timeout=120)
        except HTTPFailure:
            return None
        return answer.json() if answer.status == 200 else None

    async def _shows(self, node: Node, number: int) -> bool:
        """Right, and not from a copy."""
        answer = await self._get(node, f"/v1/counts/{_TYPE}/{_key(number)}?consistency=QUORUM")
        if answer is None or "attributes_stale" in answer or not answer["attributes"]:
            return False
        return answer["attributes"]["channel"] == _row(number)["channel"]

    async def _is_restored(self, node: Node) -> bool:
        return b"were restored from this node's copy" in node.log.read_bytes()

    async def _has_all(self, node: Node) -> bool:
        # The last rows that were loaded came last, and of the rest samples.
        step = max(1, self._keys // _SAMPLES)
        for number in [self._keys - 1, *range(0, self._keys, step)]:
            answer = await self._get(node, f"/v1/attributes/{_key(number)}")
            if answer is None:
                return False
            if answer["attributes"]["channel"] != _row(number)["channel"]:
                raise PeerError(f"{node.name} has wrong attributes of {_key(number)}")
        return True

    async def _is_copied(self, node: Node) -> bool:
        return await self.cluster.metric(node, "quipu_attribute_copy_rows") >= self._keys

    async def _top(self, node: Node) -> Any:
        return await self._get(node, f"/v1/top/{_TYPE}?by=channel&k=1000000&consistency=QUORUM")

    async def _group(self, node: Node) -> None:
        for turn in ("first", "second"):
            answer = await self._timed(f"top --by channel, {turn}", node, self._top(node))
            self._check("top --by channel", answer)
        answer = await self._timed(
            f"query --by category of {_RARE:,} keys", node, self._get(node, _RARE_TARGET)
        )
        rare = min(_RARE, self._keys)
        found = answer and (answer["keys"], answer["total"]["count"])
        if found != (rare, rare):
            self.fail(f"query --by category: {found}, must be {(rare, rare)}")
        peak = memory_peak(process_id(node))
        self.target(peak < _MEMORY_MAX, f"memory of {node.name} after that: {peak >> 20} MiB")

    def _check(self, what: str, answer: Any) -> None:
        wanted = Counter(_row(number)["channel"] for number in range(self._keys))
        found = {row["key"]: row["count"] for row in answer["rows"]} if answer else None
        if found != wanted:
            self.fail(f"{what}: the groups are not those that were loaded")
        else:
            terminal.hold(f"{what}: {len(wanted):,} groups, all right")


def _key(number: int) -> str:
    # Spread over the order of keys, as the ids of videos are.
    return f"{number * 2654435761 % (1 << 32):08x}{number:07d}"


def _row(number: int) -> dict[str, str]:
    category = "rare" if number < _RARE else f"category {number % _CATEGORIES}"
    return {"channel": f"channel {number % _CHANNELS}", "category": category}
