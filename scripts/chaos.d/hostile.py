"""Hostile clients against one of three nodes, one kind after the other, and beside them one good
client of the same node. The good client's 99th percentile may double; nothing of it may fail; the
node must stay alive with bounded memory, and every count must be right in the end."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile_client
import terminal
from cluster import Cluster, Node, NodeError, die_with_parent
from hostile_acts import ACTS
from http_client import HTTPClient, HTTPFailure
from options import Options
from report import percentile

_ALONE_SECONDS = 20.0
_REST_SECONDS = 10.0
# After an act what it left behind is still to be worked off, and is its own.
_SETTLE_SECONDS = 3.0
_SLOWDOWN_MAX = 2.0
_MEMORY_MAX = 1536 << 20
_NEWCOMER_MAX_SECONDS = 1.0
_ASK_ATTEMPTS = 20
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Operation:
    kind: str
    due: float
    seconds: float
    trouble: str


@dataclass
class Stretch:
    """A stretch of time, with an act in it or none."""

    name: str
    began: float
    ended: float = 0.0
    did: dict[str, int] = field(default_factory=dict)
    memory_before: int = 0
    memory_peak: int = 0
    memory_after: int = 0


class HostileResult:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.operations: list[Operation] = []
        self.stretches: list[Stretch] = []
        self.failures: list[str] = []

    @property
    def is_clean(self) -> bool:
        return not self.failures

    def fail(self, words: str) -> None:
        self.failures.append(words)
        terminal.fail(words)

    def _times(self, kinds: tuple[str, ...], stretches: list[Stretch]) -> list[float]:
        return [o.seconds for o in self._within(kinds, stretches) if not o.trouble]

    def _within(self, kinds: tuple[str, ...], stretches: list[Stretch]) -> list[Operation]:
        return [
            operation
            for operation in self.operations
            if operation.kind in kinds
            and any(stretch.began <= operation.due < stretch.ended for stretch in stretches)
        ]

    def judge(self) -> None:
        """Prints the table and what does not hold."""
        quiet = [stretch for stretch in self.stretches if not stretch.name]
        alone = percentile(self._times(("write", "read"), quiet), 0.99)
        middle = percentile(self._times(("write", "read"), quiet), 0.5)
        terminal.title(f"Hostile clients, each for {self._seconds:g} s")
        words = f"p50 {middle * 1e3:.1f} ms, p99 {alone * 1e3:.1f} ms"
        terminal.say(f"  the good client alone: {words}")
        terminal.say(_row("", ("p50", "p99", "× alone", "failed", "newcomers", "memory, MiB")))
        for stretch in self.stretches:
            if stretch.name:
                self._judge_act(stretch, alone)

    def _judge_act(self, stretch: Stretch, alone: float) -> None:
        operations = self._within(("write", "read"), [stretch])
        # What failed has waited too; and what never came back is no operation at all.
        times = [operation.seconds for operation in operations]
        failed = [operation for operation in operations if operation.trouble]
        newcomers = self._within(("newcomer",), [stretch])
        served = [n for n in newcomers if not n.trouble and n.seconds <= _NEWCOMER_MAX_SECONDS]
        slowdown = percentile(times, 0.99) / alone if alone else 0.0
        memory = (stretch.memory_before, stretch.memory_peak, stretch.memory_after)
        cells = [
            f"{percentile(times, 0.5) * 1e3:.1f} ms",
            f"{percentile(times, 0.99) * 1e3:.1f} ms",
            f"{slowdown:.2f}",
            f"{len(failed)}",
            f"{len(served)}/{len(newcomers)}",
            " → ".join(f"{size >> 20}" for size in memory),
        ]
        terminal.say(_row(stretch.name, tuple(cells)))
        did = ", ".join(f"{name}: {count:,}" for name, count in sorted(stretch.did.items()))
        terminal.say(f"  {'':14}{ACTS[stretch.name][0]}; {did}")
        if not operations:
            self.fail(f"{stretch.name}: the good client got no answer at all")
        if slowdown > _SLOWDOWN_MAX:
            self.fail(f"{stretch.name}: p99 is {slowdown:.1f} times that of the good client alone")
        if failed:
            self.fail(f"{stretch.name}: {len(failed)} operations failed: {failed[0].trouble}")
        if len(served) < len(newcomers):
            late = len(newcomers) - len(served)
            self.fail(f"{stretch.name}: {late} of {len(newcomers)} newcomers waited for over 1 s")
        if stretch.memory_peak > _MEMORY_MAX:
            self.fail(f"{stretch.name}: memory of n1 reached {stretch.memory_peak >> 20} MiB")

    def show(self) -> None:
        if self.is_clean:
            terminal.hold("the good client was served as before, and every count is right")
        else:
            terminal.fail(f"{len(self.failures)} claims do not hold")

    def json(self) -> dict[str, Any]:
        return {
            "acts": [
                {
                    "name": stretch.name or "alone",
                    "p50_ms": round(percentile(times, 0.5) * 1e3, 2),
                    "p99_ms": round(percentile(times, 0.99) * 1e3, 2),
                    "memory": [stretch.memory_before, stretch.memory_peak, stretch.memory_after],
                    "did": stretch.did,
                }
                for stretch in self.stretches
                for times in [self._times(("write", "read"), [stretch])]
            ],
            "failures": self.failures,
        }


def _row(name: str, cells: tuple[str, ...]) -> str:
    return f"  {name:14}" + "".join(f"{cell:>11}" for cell in cells[:-1]) + f"{cells[-1]:>22}"


class Hostile:
    def __init__(self, options: Options, cluster: Cluster, result: HostileResult) -> None:
        self._options = options
        self._cluster = cluster
        self._result = result
        self._victim = cluster.all[0]
        self._memory: list[tuple[float, int]] = []
        self._acknowledged: int | None = None

    async def run(self, client: HTTPClient) -> None:
        good = await self._start_good_client()
        listening = asyncio.create_task(self._listen(good))
        watching = asyncio.create_task(self._watch_memory())
        try:
            await self._rest("", _ALONE_SECONDS)
            for name in self._options.acts:
                await self._act(name)
            good.terminate()
            await asyncio.wait_for(good.wait(), 30)
            await listening
        finally:
            watching.cancel()
            listening.cancel()
            if good.returncode is None:
                good.kill()
                await good.wait()
        self._result.judge()
        await self._check(client)

    async def _start_good_client(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            str(_FOLDER / "hostile_client.py"),
            self._victim.http,
            str(uuid.uuid4()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )

    async def _listen(self, good: asyncio.subprocess.Process) -> None:
        assert good.stdout is not None
        async for line in good.stdout:
            said = json.loads(line)
            if "kind" in said:
                self._result.operations.append(Operation(**said))
            elif "wrong" in said:
                self._result.fail(f"a read shows a wrong count: {said['wrong']}")
            else:
                self._acknowledged = said["acknowledged"]

    async def _watch_memory(self) -> None:
        while True:
            process = self._victim.process
            if process is not None and process.returncode is None:
                pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
                used = int(pages) * resource.getpagesize()
                self._memory.append((time.monotonic(), used))
            await asyncio.sleep(0.25)

    async def _rest(self, name: str, seconds: float) -> None:
        began = time.monotonic()
        await asyncio.sleep(seconds)
        self._result.stretches.append(Stretch(name, began, time.monotonic()))

    async def _act(self, name: str) -> None:
        terminal.say(f"{name}: {ACTS[name][0]}")
        stretch = Stretch(name, time.monotonic(), memory_before=self._memory[-1][1])
        host, port = self._victim.http.rsplit(":", 1)
        told = {
            "http": (host, int(port)),
            "peer": (host, self._victim.peer_port),
            "seconds": self._options.each,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            str(_FOLDER / "hostile_acts.py"),
            name,
            json.dumps(told),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise NodeError(f"the act {name} itself fails with status {process.returncode}")
        stretch.did = json.loads(output)
        stretch.ended = time.monotonic()
        self._result.stretches.append(stretch)
        await asyncio.sleep(_SETTLE_SECONDS)
        await self._rest("", _REST_SECONDS - _SETTLE_SECONDS)
        used = [size for at, size in self._memory if at >= stretch.began]
        stretch.memory_peak, stretch.memory_after = max(used), used[-1]

    # ---- in the end

    async def _check(self, client: HTTPClient) -> None:
        for node in self._cluster.all:
            if node.starts == 1 and node.is_running:
                continue
            self._result.fail(f"{node.name} has ended")
        if self._acknowledged is None:
            self._result.fail("the good client ended without a word of what it wrote")
            return
        target = f"/v1/counts/{hostile_client.TYPE}/{hostile_client.KEY}?step=all"
        for node in self._cluster.all:
            found = await _count(client, node, f"{target}&consistency=QUORUM")
            if found == self._acknowledged:
                terminal.hold(f"{node.name} at QUORUM: {found:,} events of the good client, right")
            else:
                self._result.fail(f"{node.name}: {found}, must be {self._acknowledged}")
        await self._check_new_keys(client)

    async def _check_new_keys(self, client: HTTPClient) -> None:
        """A batch is whole or not at all; one that is acknowledged is whole."""
        did = [s.did for s in self._result.stretches if s.name == "new-keys"]
        if not did:
            return
        batch = 10_000
        least = batch * sum(words.get("answered 200", 0) for words in did)
        most = least + batch * sum(
            words.get("no answer", 0) + words.get("answered 504", 0) for words in did
        )
        target = "/v1/top/explosion?k=1000000&consistency=QUORUM"
        answer = await client.get(self._cluster.all[1].http, target, timeout=60)
        rows = answer.json()["rows"] if answer.status == 200 else []
        is_right = all(int(row["count"]) == 1 for row in rows)
        # A node ranks a million keys at most.
        if not is_right or len(rows) % batch or not min(least, 1_000_000) <= len(rows) <= most:
            self._result.fail(f"{len(rows):,} new keys, of {least:,} to {most:,}: {answer.status}")
        else:
            terminal.hold(f"{len(rows):,} new keys, each once (acknowledged: {least:,})")


async def _count(client: HTTPClient, node: Node, target: str) -> int | str:
    words = ""
    for attempt in range(_ASK_ATTEMPTS):
        try:
            answer = await client.get(node.http, target)
        except HTTPFailure as failure:
            words = str(failure)
        else:
            if answer.status == 200:
                return int(answer.json()["total"]["count"])
            words = f"{answer.status} {answer.text()[:200]}"
        await asyncio.sleep(0.2 * (attempt + 1))
    return words


async def run_hostile(options: Options, directory: Path) -> HostileResult:
    # Ten thousand connections, here and in what is started.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    client = HTTPClient()
    result = HostileResult(options.each)
    cluster = Cluster(
        directory,
        options.binary,
        3,
        options.http_port,
        options.peer_port,
        on_end=lambda node, status: result.fail(
            f"{node.name} ended by itself with status {status}: {' | '.join(node.log_tail(3))}"
        ),
        http_client=client,
    )
    try:
        await cluster.check_ports([])
        await cluster.start()
        await Hostile(options, cluster, result).run(client)
        if late := await cluster.wait_until_ready(30):
            result.fail(f"not ready in the end: {'; '.join(late)}")
    finally:
        await cluster.stop()
        client.close()
    return result
