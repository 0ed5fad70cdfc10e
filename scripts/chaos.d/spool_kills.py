"""A sender with a spool that is killed over and over, over nodes that are killed as well. In the
end each event of its file must be counted exactly once."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import terminal
from cluster import Cluster, Node, NodeError, die_with_parent
from http_client import HTTPClient, HTTPFailure

_TYPES = ("view", "like")
# A generated event; what does not look like one is a broken line.
_EVENT = re.compile(
    rb'\{"type":"(\w+)","key":"(k\d+)","time":"(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\dZ"\}'
)
_AUDIT_SECONDS = 90
_MOST_KEYS = 10_000
# A node that was killed is away for at most this long.
_AWAY_SECONDS = 3.0
_RUN_SECONDS = 600
# How long a run of the sender is meant to live, on average, and what a kill of a node takes until
# all vote again.
_RUN_MEAN = 0.75
_NODE_KILL_SECONDS = 6.0


@dataclass
class Truth:
    """What the file holds: events by type and key, and by minute; broken lines."""

    keys: dict[str, Counter[str]]
    minutes: Counter[str]
    events: int = 0
    dead: int = 0


@dataclass
class Result:
    sender_kills: int = 0
    node_kills: int = 0
    runs: int = 0
    unfinished: int = 0
    resent: int = 0
    seconds: float = 0
    counts: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def read_truth(file: Path) -> Truth:
    truth = Truth({name: Counter() for name in _TYPES}, Counter())
    with file.open("rb") as lines:
        for line in lines:
            truth.events += 1
            match = _EVENT.fullmatch(line.rstrip(b"\n"))
            if match is None or match[1].decode() not in truth.keys:
                truth.dead += 1
                continue
            truth.keys[match[1].decode()][match[2].decode()] += 1
            truth.minutes[match[3].decode()] += 1
    return truth


class Kills:
    def __init__(self, options: argparse.Namespace, cluster: Cluster, directory: Path) -> None:
        self._options = options
        self._cluster = cluster
        self._directory = directory
        self._draw = random.Random(f"spool-kills/{options.seed}")
        self._file = directory / ("events.ndjson.gz" if options.gzip else "events.ndjson")
        self.result = Result()
        self._is_over = False
        self._live = terminal.LiveLine()

    def make_file(self) -> Truth:
        plain = self._directory / "events.ndjson"
        options = self._options
        with plain.open("wb") as output:
            subprocess.run(
                [
                    str(options.binary), "generate", "--events", str(options.events),
                    "--keys", str(options.keys), "--types", ",".join(_TYPES),
                    "--seed", str(options.seed), "--bad", str(options.bad),
                ],
                stdout=output,
                check=True,
            )
        truth = read_truth(plain)
        if options.gzip:
            with plain.open("rb") as source, gzip.open(self._file, "wb", 1) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            plain.unlink()
        return truth

    async def _start_sender(self, rate: int | None) -> asyncio.subprocess.Process:
        options = self._options
        words = [
            str(options.binary), "send", str(self._file),
            "--spool", str(self._directory / "spool"), "--json",
            "--batch", str(options.batch), "--in-flight", str(options.in_flight),
            "--timeout", "60s", "--node", ",".join(node.http for node in self._cluster.all),
        ]
        if rate is not None:
            words += ["--rate", f"{rate}/s"]
        self.result.runs += 1
        with (self._directory / "logs" / "sender.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                process_group=0,
                preexec_fn=die_with_parent,
            )

    async def run_sender(self, kill_after: float | None, rate: int | None) -> dict[str, Any] | None:
        """One run; its summary where it came to its end."""
        process = await self._start_sender(rate)
        reading = asyncio.create_task(process.communicate())
        try:
            output, _ = await asyncio.wait_for(
                asyncio.shield(reading), _RUN_SECONDS if kill_after is None else kill_after
            )
        except TimeoutError:
            if kill_after is None:
                self.result.wrong.append(f"a run did not end within {_RUN_SECONDS} s")
            process.send_signal(signal.SIGKILL)
            await reading
            self.result.sender_kills += 1
            return None
        if process.returncode != 0:
            # The cluster was away for too long: what is left stays in the spool.
            self.result.unfinished += 1
        return json.loads(output) if output else None

    async def kill_senders(self) -> None:
        """The runs last as long as keeps the kills, and those of nodes, spread over the file."""
        options = self._options
        planned = max(options.kills * _RUN_MEAN, options.node_kills * _NODE_KILL_SECONDS, 1)
        mean = planned / max(1, options.kills)
        # Events that are left, if each run had sent as many as its rate allows.
        left = float(options.events)
        while self.result.sender_kills < options.kills:
            # From the first moment of a run, in which the spool is read, to a while after it.
            bounds = self._draw.choice([(0, 0.2), (0.2, max(0.4, 4 * mean - 0.4))])
            after = self._draw.uniform(*bounds)
            runs = options.kills - self.result.sender_kills
            rate = options.rate or max(1000, int(0.95 * left / (runs * mean)))
            left = max(0, left - rate * after)
            summary = await self.run_sender(after, rate)
            if summary is not None and summary["spool"]["events"] >= options.events:
                terminal.say(
                    f"the file was sent after {self.result.sender_kills} kills; give a lower --rate"
                )
                return
            self._live.show(
                f"{self.result.sender_kills} kills of the sender, {self.result.node_kills} of nodes"
            )

    async def kill_nodes(self) -> None:
        """One node at a time, most often; now and then a second one, so that no quorum is left."""
        options = self._options
        while not self._is_over and self.result.node_kills < options.node_kills:
            count = min(
                2 if self._draw.random() < 0.15 else 1,
                options.node_kills - self.result.node_kills,
            )
            await asyncio.gather(
                *(self._kill_node(node) for node in self._draw.sample(self._cluster.all, count))
            )
            late = await self._cluster.wait_until_ready(60)
            if late:
                self.result.wrong.append(f"not ready after a kill: {'; '.join(late)}")
                return
            await asyncio.sleep(self._draw.uniform(0, 1.0))

    async def _kill_node(self, node: Node) -> None:
        await node.kill()
        self.result.node_kills += 1
        await asyncio.sleep(self._draw.uniform(0, _AWAY_SECONDS))
        await node.start()

    async def run(self) -> None:
        began = time.monotonic()
        await asyncio.gather(self.kill_senders(), self.kill_nodes())
        self._is_over = True
        for _ in range(20):
            summary = await self.run_sender(None, None)
            if summary is not None:
                self.result.summary = summary
                if summary["spool"]["batches_kept"] == 0 and summary["spool"]["events"] >= (
                    self._options.events
                ):
                    break
        again = await self.run_sender(None, None)
        self.result.resent = -1 if again is None else again["batches"]
        self.result.seconds = time.monotonic() - began


class Checks:
    """The nodes' counts against the file's."""

    def __init__(self, cluster: Cluster, client: HTTPClient, result: Result) -> None:
        self._cluster = cluster
        self._client = client
        self._result = result

    async def _top(self, node: Node, kind: str, level: str, more: str = "") -> dict[str, int]:
        target = f"/v1/top/{kind}?k={_MOST_KEYS}&consistency={level}{more}"
        for attempt in range(5):
            try:
                answer = await self._client.get(node.http, target, timeout=30)
                if answer.status == 200:
                    return {row["key"]: int(row["count"]) for row in answer.json()["rows"]}
            except HTTPFailure:
                pass
            await asyncio.sleep(1 + attempt)
        self._result.wrong.append(f"{node.name} does not answer {target}")
        return {}

    async def compare(self, truth: Truth) -> None:
        for node in self._cluster.all:
            for kind in _TYPES:
                found = await self._top(node, kind, "QUORUM")
                self._compare(f"{node.name}, {kind}", found, truth.keys[kind])
        node = self._cluster.all[0]
        for minute in sorted(truth.minutes):
            start = f"{minute}:00Z"
            found = await self._top(node, "*", "QUORUM", f"&from={start}&to={_next(minute)}")
            self._compare(minute, {minute: sum(found.values())}, {minute: truth.minutes[minute]})

    def _compare(self, where: str, found: dict[str, int], wanted: dict[str, int]) -> None:
        self._result.counts += len(wanted)
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key, 0) != wanted.get(key, 0):
                self._result.wrong.append(
                    f"{where}: {key} is {found.get(key, 0)}, must be {wanted.get(key, 0)}"
                )

    def totals(self, truth: Truth) -> None:
        """What the spool says of all runs."""
        spool = self._result.summary.get("spool")
        if spool is None:
            self._result.wrong.append("no run came to its end")
            return
        counted = truth.events - truth.dead
        found = (spool["events"], spool["counted"], spool["dead"], spool["batches_kept"])
        wanted = (truth.events, counted, truth.dead, 0)
        if found != wanted:
            self._result.wrong.append(f"events, counted, dead, kept: {found}, must be {wanted}")
        if self._result.resent != 0:
            self._result.wrong.append(f"one more run sent {self._result.resent} batches")

    async def audit(self, binary: Path) -> None:
        deadline = time.monotonic() + _AUDIT_SECONDS
        while True:
            process = await asyncio.create_subprocess_exec(
                str(binary), "audit", "--node", self._cluster.all[0].http,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            if process.returncode == 0 and b"not compared" not in output:
                return
            if time.monotonic() >= deadline:
                words = output.decode("utf-8", "replace").strip().splitlines()[-3:]
                self._result.wrong.append(f"the audit: {' | '.join(words)}")
                return
            await asyncio.sleep(1)


def _next(minute: str) -> str:
    after = datetime.fromisoformat(f"{minute}:00+00:00") + timedelta(minutes=1)
    return after.strftime("%Y-%m-%dT%H:%M:00Z")


def show(options: argparse.Namespace, result: Result, truth: Truth) -> None:
    terminal.title("Result")
    rows = [
        ("events of the file", truth.events),
        ("broken lines", truth.dead),
        ("runs of the sender", result.runs),
        ("killed", result.sender_kills),
        ("ended without the cluster", result.unfinished),
        ("kills of nodes", result.node_kills),
        ("batches", result.summary.get("spool", {}).get("batches", 0)),
        ("counts compared", result.counts),
    ]
    for name, number in rows:
        terminal.say(f"  {name:28} {number:>12,}")
    terminal.say(f"  {'seconds of sending':28} {result.seconds:>12,.1f}")
    if result.sender_kills < options.kills:
        result.wrong.append(f"only {result.sender_kills} of {options.kills} kills of the sender")
    if result.node_kills < options.node_kills:
        result.wrong.append(f"only {result.node_kills} of {options.node_kills} kills of nodes")
    for words in result.wrong[:10]:
        terminal.fail(words)
    if not result.wrong:
        terminal.hold("every event is counted exactly once, counted + dead = events")


async def main_async(options: argparse.Namespace, directory: Path) -> Result:
    client = HTTPClient()
    ends: list[str] = []
    cluster = Cluster(
        directory, options.binary, 3, options.http_port, options.peer_port,
        on_end=lambda node, status: ends.append(f"{node.name} ended by itself, status {status}"),
        http_client=client,
        # Small enough that nodes flush, and replay, in the middle of it.
        settings=("memtable_size: 8MiB",),
    )
    kills = Kills(options, cluster, directory)
    try:
        await cluster.check_ports([])
        terminal.title(f"{options.events:,} events in a file")
        truth = kills.make_file()
        await cluster.start()
        terminal.title(f"{options.kills} kills of the sender, {options.node_kills} of nodes")
        await kills.run()
        terminal.title("Comparing")
        checks = Checks(cluster, client, kills.result)
        checks.totals(truth)
        kills.result.wrong += await cluster.wait_until_ready(60)
        await checks.compare(truth)
        await checks.audit(options.binary)
        kills.result.wrong += ends
        show(options, kills.result, truth)
    finally:
        await cluster.stop()
        client.close()
    return kills.result


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/spool-kills")
    parser.add_argument("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--node-kills", type=int, default=5)
    parser.add_argument("--rate", type=int, help="events a second; else so that kills are spread")
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--keys", type=int, default=3000)
    parser.add_argument("--bad", default="0.0001")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--http-port", type=int, default=8481)
    parser.add_argument("--peer-port", type=int, default=7481)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    return options


def main() -> int:
    options = read_arguments()
    directory = Path(tempfile.mkdtemp(prefix="spool-kills.", dir=".build")).resolve()
    is_clean = False
    try:
        result = asyncio.run(main_async(options, directory))
        is_clean = not result.wrong
        if options.json is not None:
            numbers = {name: value for name, value in vars(result).items()}
            options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    except NodeError as error:
        terminal.fail(str(error))
    except KeyboardInterrupt:
        return 130
    finally:
        if is_clean and not options.keep:
            shutil.rmtree(directory)
        else:
            terminal.say(f"kept for a look: {directory}")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
