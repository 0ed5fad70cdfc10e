"""Three nodes under a steady stream of events, one of them away for long: how soon it holds all
that it missed once it is back, and what that costs the others.

A node has caught up when it alone, asked at ONE, shows of each of the most frequent keys at least
what a quorum showed at the moment of its return, while the stream goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import terminal
from cluster import Cluster, Node, die_with_parent
from http_client import HTTPClient, HTTPFailure, component
from options import Options

_HEALTHY_SECONDS = 10.0
_CATCH_UP_MAX = 60.0
_GIVE_UP_SECONDS = 300.0
_KEPT_SHARE = 0.8
_KEYS = 500
_WATCHED = 20
_TYPE = "view"


class AbsenceResult:
    def __init__(self, options: Options, rates: dict[str, float]) -> None:
        self._options = options
        self.rates = rates
        self.missed = 0
        self.catch_up_seconds = float("inf")
        self.ready_seconds = float("inf")
        self.differences: list[str] = []
        self.sender = ""

    @property
    def _kept(self) -> dict[str, float]:
        healthy = max(self.rates.get("healthy", 0.0), 1.0)
        return {name: rate / healthy for name, rate in self.rates.items() if name != "healthy"}

    @property
    def is_clean(self) -> bool:
        return (
            not self.differences
            and self.catch_up_seconds <= _CATCH_UP_MAX
            and all(share >= _KEPT_SHARE for share in self._kept.values())
        )

    def show(self) -> None:
        terminal.title(f"Absence of {self._options.away:g} s at {self._options.rate:,} events/s")
        for name, rate in self.rates.items():
            terminal.say(f"  {name:32} {rate:>12,.0f} events/s")
        terminal.say(f"  {'missed by the node':32} {self.missed:>12,} events")
        terminal.say(f"  {'from its start to readiness':32} {self.ready_seconds:>12.1f} s")
        terminal.say(f"  sender: {self.sender}")
        words = f"caught up {self.catch_up_seconds:.1f} s after its start (allowed: 60)"
        (terminal.hold if self.catch_up_seconds <= _CATCH_UP_MAX else terminal.fail)(words)
        for name, share in self._kept.items():
            words = f"{share:.0%} of the healthy throughput while {name} (at least 80 %)"
            (terminal.hold if share >= _KEPT_SHARE else terminal.fail)(words)
        for difference in self.differences[:5]:
            terminal.fail(difference)
        if not self.differences:
            terminal.hold("all nodes show the same counts, and as many as were sent")

    def json(self) -> dict[str, Any]:
        return {
            "away": self._options.away,
            "rate": self._options.rate,
            "events_per_second": {name: round(rate) for name, rate in self.rates.items()},
            "missed": self.missed,
            "catch_up_seconds": round(self.catch_up_seconds, 2),
            "ready_seconds": round(self.ready_seconds, 2),
            "differences": self.differences,
        }


@dataclass
class Absence:
    options: Options
    cluster: Cluster
    client: HTTPClient

    async def counted(self) -> int:
        """Events that the two nodes that stay have counted for clients."""
        counts = [
            await self.cluster.metric(node, "quipu_events_counted_total")
            for node in self.cluster.all[:2]
        ]
        return int(sum(counts))

    async def top(self, node: Node, level: str, count: int) -> dict[str, int]:
        target = f"/v1/top/{_TYPE}?k={count}&consistency={level}"
        answer = await self.client.get(node.http, target, timeout=30)
        if answer.status != 200:
            raise HTTPFailure(f"{answer.status} {answer.text()[:200]}", True)
        return {row["key"]: int(row["count"]) for row in answer.json()["rows"]}

    async def count_of(self, node: Node, key: str) -> int | None:
        """What this node alone shows of a key; nil where it does not answer."""
        target = f"/v1/counts/{_TYPE}/{component(key)}?step=all&consistency=ONE"
        try:
            answer = await self.client.get(node.http, target, timeout=5)
        except HTTPFailure:
            return None
        if answer.status != 200:
            return None
        body = answer.json()
        return int(body["total"]["count"]) if body["replicas"] == [node.name] else None

    async def rate_during(self, seconds: float) -> float:
        began, before = time.monotonic(), await self.counted()
        await asyncio.sleep(seconds)
        return (await self.counted() - before) / (time.monotonic() - began)

    async def run(self, result: AbsenceResult, away: Node) -> None:
        terminal.say(f"healthy for {_HEALTHY_SECONDS:g} s")
        await asyncio.sleep(3)
        result.rates["healthy"] = await self.rate_during(_HEALTHY_SECONDS)
        await away.kill()
        terminal.say(f"{away.name} is killed and away for {self.options.away:g} s")
        before = await self.counted()
        result.rates["it is away"] = await self.rate_during(self.options.away)
        result.missed = await self.counted() - before
        goal = await self.top(self.cluster.all[0], "QUORUM", _WATCHED)
        began, at_start = time.monotonic(), await self.counted()
        await away.start()
        terminal.say(f"{away.name} is back; {result.missed:,} events are to be caught up")
        while goal and time.monotonic() - began < _GIVE_UP_SECONDS:
            if result.ready_seconds == float("inf") and await self.cluster.is_ready(away):
                result.ready_seconds = time.monotonic() - began
            key = next(iter(goal))
            count = await self.count_of(away, key)
            if count is not None and count >= goal[key]:
                del goal[key]
            else:
                await asyncio.sleep(0.1)
        elapsed = time.monotonic() - began
        result.rates["it catches up"] = (await self.counted() - at_start) / elapsed
        if not goal:
            result.catch_up_seconds = elapsed

    async def compare(self, result: AbsenceResult, sent: int) -> None:
        """With the stream at its end: the same everywhere, and as many as were acknowledged."""
        deadline = time.monotonic() + 60
        truth = await self.top(self.cluster.all[0], "QUORUM", 10_000)
        if sum(truth.values()) != sent:
            result.differences.append(f"{sum(truth.values())} counted, {sent} acknowledged")
        for node in self.cluster.all:
            for level in ("QUORUM", "ONE"):
                found = await self.top(node, level, 10_000)
                while found != truth and level == "ONE" and time.monotonic() < deadline:
                    await asyncio.sleep(0.5)
                    found = await self.top(node, level, 10_000)
                if found != truth:
                    wrong = sum(1 for key in truth | found if truth.get(key) != found.get(key))
                    result.differences.append(f"{node.name} at {level}: {wrong} keys differ")


async def run_absence(options: Options, directory: Path) -> AbsenceResult:
    client = HTTPClient()
    ends: list[str] = []
    cluster = Cluster(
        directory,
        options.binary,
        3,
        options.http_port,
        options.peer_port,
        on_end=lambda node, status: ends.append(f"{node.name}, status {status}"),
        http_client=client,
    )
    absence = Absence(options, cluster, client)
    result = AbsenceResult(options, {})
    away = cluster.all[2]
    generator = sender = None
    try:
        await cluster.check_ports([])
        await cluster.start()
        generator, sender, output = await _start_stream(options, cluster, directory)
        await absence.run(result, away)
        # The end of the generator is the end of the stream: what is under way is still sent.
        generator.terminate()
        await asyncio.wait_for(sender.wait(), 120)
        result.sender = output.read_text().strip().splitlines()[-1]
        await absence.compare(result, _acknowledged(result.sender))
        if ends:
            result.differences.append(f"ended by itself: {'; '.join(ends)}")
    finally:
        for process in (generator, sender):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        await cluster.stop()
        client.close()
    return result


async def _start_stream(
    options: Options, cluster: Cluster, directory: Path
) -> tuple[asyncio.subprocess.Process, asyncio.subprocess.Process, Path]:
    """`quipu generate` into `quipu send`, without end."""
    binary, output = str(options.binary), directory / "sent.json"
    # The last node is asked for nothing: its absence is to be seen by its peers, not by a sender.
    addresses = ",".join(node.http for node in cluster.all[:2])
    read_end, write_end = os.pipe()
    try:
        generator = await asyncio.create_subprocess_exec(
            binary,
            "generate",
            "--events",
            "1000000000000",
            "--keys",
            str(_KEYS),
            "--types",
            _TYPE,
            "--seed",
            str(options.seed),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        with output.open("wb") as file, (directory / "logs" / "sender.log").open("wb") as log:
            sender = await asyncio.create_subprocess_exec(
                binary,
                "send",
                "-",
                "--rate",
                f"{options.rate}/s",
                "--json",
                "--node",
                addresses,
                stdin=read_end,
                stdout=file,
                stderr=log,
                preexec_fn=die_with_parent,
            )
    finally:
        os.close(read_end)
        os.close(write_end)
    return generator, sender, output


def _acknowledged(summary: str) -> int:
    return int(json.loads(summary)["counted"])
