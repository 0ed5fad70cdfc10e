"""The published files of trending videos: what `quipu attributes load` makes of them, read back
through each node, and groups by them, which Python joins by means of its own."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Awaitable, Callable, Iterator

import terminal
from cluster import Cluster, Node, NodeError, die_with_parent
from files import Event, Source, utc_minute
from http_client import HTTPFailure, component
from truth import Truth

_TABLES = tuple(f"18.01.11_{region}_videos.csv" for region in ("US", "JP", "RU"))
_MERGED = "videos_merged.jsonl"
_KEY = "video_id"
_TYPE = "video"
# Of each file, as somebody else counted them.
_ROWS = {_MERGED: 1_672, **dict.fromkeys(_TABLES, 200)}
_READERS = 16
# For rows to reach every node.
_WAIT_SECONDS = 60
_KEYS_MAX = 1_000_000
# A key with events of which nothing is known.
_UNKNOWN = "-no-such-video"

Row = dict[str, Any]


def _table(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _objects(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _events(path: Path) -> Iterator[Event | None]:
    for row in _objects(path):
        yield Event(row["type"], row["key"], utc_minute(row["time"]))


class Videos:
    def __init__(
        self,
        cluster: Cluster,
        binary: Path,
        claim: Callable[[list[str], str], None],
        send: Callable[[Source, list[Path], Truth], Awaitable[None]],
    ) -> None:
        self._cluster = cluster
        self._binary = binary
        self._claim = claim
        self._send = send

    async def check(self, folder: Path) -> None:
        terminal.title(", ".join([*_TABLES, _MERGED]))
        if missing := [name for name in _ROWS if not (folder / name).exists()]:
            return terminal.say(f"  not there, passed over: {', '.join(missing)}")
        for name in _TABLES:
            await self._load(folder / name, _table)
        rows = await self._load(folder / _MERGED, _objects)
        path = self._cluster.directory / "videos.ndjson"
        self._write_events(path, rows)
        truth = Truth()
        truth.add(_events(path))
        source = Source(names=(), mapping=(), read=_events, types={}, keys={})
        await self._send(source, [path], truth)
        await self._read_back(rows, "after n2 was killed")
        for name in ("channel", "category"):
            await self._on_each(
                lambda node: self._top(node, name, rows, truth), f"top --by {name}: every group"
            )
        categories = sorted({row["category"] for row in rows.values()})
        await self._on_each(
            lambda node: self._series(node, categories, rows, truth),
            f"query --by category: {len(categories)} of them, every hour",
        )

    # ---- input

    async def _load(self, path: Path, read: Callable[[Path], Iterator[Row]]) -> dict[str, Row]:
        """What is known of each key then."""
        rows: dict[str, Row] = {}
        for row in read(path):
            rows[row.pop(_KEY)] = row
        words = ["attributes", "load", str(path), "--key-field", _KEY, "--json"]
        process = await asyncio.create_subprocess_exec(
            str(self._binary),
            *words,
            "--node",
            self._cluster.all[0].http,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise NodeError(f"quipu attributes load ended with {process.returncode}: {output!r}")
        # One part: the files are small.
        said = json.loads(output)
        wanted = (len(rows), 0, _ROWS[path.name])
        found = (said["written"] + said["unchanged"], said["rejected"], said["rows"])
        wrong = [] if found == wanted else [f"{output.decode()}, must be {wanted}"]
        self._claim(wrong, f"{path.name}: {len(rows):,} rows loaded through n1, none left out")
        await self._read_back(rows, f"of {path.name}")
        return rows

    def _write_events(self, path: Path, rows: dict[str, Row]) -> None:
        start = datetime(2018, 11, 1, tzinfo=timezone.utc)
        with path.open("w", encoding="utf-8") as file:
            for number, key in enumerate([*rows, _UNKNOWN]):
                for turn in range(1 + number % 7):
                    at = start + timedelta(minutes=(number * 13 + turn * 61) % 1440)
                    event = {"type": _TYPE, "key": key, "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
                    file.write(json.dumps(event) + "\n")

    # ---- what is asked

    async def _read_back(self, rows: dict[str, Row], what: str) -> None:
        await self._on_each(
            lambda node: self._attributes(node, rows),
            f"{len(rows):,} titles and all else {what}, to the byte",
        )

    async def _on_each(self, ask: Callable[[Node], Awaitable[list[str]]], what: str) -> None:
        """Asks each node until nothing differs, or rows have had time to reach it."""
        for node in self._cluster.all:
            end = time.monotonic() + _WAIT_SECONDS
            while (wrong := await ask(node)) and time.monotonic() < end:
                await asyncio.sleep(0.5)
            self._claim(wrong, f"{what}, through {node.name}")

    async def _attributes(self, node: Node, rows: dict[str, Row]) -> list[str]:
        keys = iter(rows)
        wrong: list[str] = []

        async def read() -> None:
            for key in keys:
                answer = await self._get(node, f"/v1/attributes/{component(key)}")
                if answer is None or answer["attributes"] != rows[key]:
                    wrong.append(f"{key}: {str(answer)[:200]}, must be {str(rows[key])[:200]}")

        async with asyncio.TaskGroup() as group:
            for _ in range(_READERS):
                group.create_task(read())
        return wrong

    async def _top(
        self, node: Node, name: str, rows: dict[str, Row], truth: Truth
    ) -> list[str]:
        counts: Counter[str | None] = Counter()
        keys: Counter[str | None] = Counter()
        for key, count in truth.totals(_TYPE).items():
            group = rows[key][name] if key in rows else None
            counts[group] += count
            keys[group] += 1
        target = f"/v1/top/{_TYPE}?by={name}&k={_KEYS_MAX}&consistency=QUORUM"
        answer = await self._get(node, target)
        if answer is None or "attributes_stale" in answer:
            return [f"{target}: no answer, or a stale one"]
        order = [int(row["count"]) for row in answer["rows"]]
        found = {row["key"]: (int(row["count"]), int(row["keys"])) for row in answer["rows"]}
        wrong = [
            f"{group}: {found.get(group)}, must be {(counts[group], keys[group])}"
            for group in counts.keys() | found.keys()
            if found.get(group) != (counts[group], keys[group])
        ]
        if order != sorted(order, reverse=True) or len(order) != len(found):
            wrong.append("the groups are not in their order, or one is there twice")
        return wrong

    async def _series(
        self, node: Node, categories: list[str], rows: dict[str, Row], truth: Truth
    ) -> list[str]:
        wrong: list[str] = []
        for category in categories:
            keys = [key for key, row in rows.items() if row["category"] == category]
            hours: Counter[str] = Counter()
            for key in keys:
                for minute, measure in truth.series[_TYPE, key].items():
                    at = datetime.fromtimestamp(minute * 60, timezone.utc)
                    hours[at.strftime("%Y-%m-%dT%H:00:00Z")] += measure.count
            target = f"/v1/counts/{_TYPE}/{component(category)}?by=category&step=1h"
            answer = await self._get(node, target)
            if answer is None or "attributes_stale" in answer:
                wrong.append(f"{target}: no answer, or a stale one")
                continue
            found = {row["start"]: int(row["count"]) for row in answer["windows"]}
            total = (answer["keys"], int(answer["total"]["count"]))
            if found != hours or total != (len(keys), sum(hours.values())):
                wrong.append(f"{category}: {total}, must be {(len(keys), sum(hours.values()))}")
        return wrong

    async def _get(self, node: Node, target: str) -> Any:
        """None where the node has no answer."""
        try:
            answer = await self._cluster.http_client.get(node.http, target, timeout=60)
        except HTTPFailure:
            return None
        return answer.json() if answer.status == 200 else None
