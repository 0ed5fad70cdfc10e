"""Three nodes under steady load, one of them killed: no operation at QUORUM may fail, and writes
may not get much slower.

The client does what a good client does: where a connection fails, it goes on at another node at
once; where a node refuses or does not answer, after a wait drawn at random; and a node that failed
is asked last for a moment. The load is open: an operation starts when its time
has come, whether those before it have ended or not, so that slowness is not hidden.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import terminal
from cluster import Cluster, Node, NodeError
from http_client import HTTPClient, HTTPFailure
from options import Options
from producers import post
from report import percentile
from workload import KEYS, TYPE, make_batch

_WARM_UP_SECONDS = 5.0
_PHASE_SECONDS = 10.0
_WRITES_PER_SECOND = 80
_READS_PER_SECOND = 40
_OPERATION_SECONDS = 10.0
_ATTEMPT_SECONDS = 2.0
_SHUNNED_SECONDS = 1.0
_SLOWDOWN_MAX = 3.0


@dataclass(frozen=True)
class Operation:
    kind: str
    began: float
    seconds: float
    attempts: int
    # nil where it succeeded.
    failure: str | None


class SteadyClient:
    """Operations at a steady pace, each retried over the nodes until it succeeds or its time is
    over."""

    def __init__(self, cluster: Cluster, client: HTTPClient, seed: int) -> None:
        self._cluster = cluster
        self._client = client
        self._seed = seed
        self._draw = random.Random(f"steady/{seed}")
        self._shunned: dict[str, float] = {}
        self.operations: list[Operation] = []

    async def run(self, kind: str, per_second: int) -> None:
        async with asyncio.TaskGroup() as group:
            began = time.monotonic()
            number = 0
            while True:
                await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                group.create_task(self._operate(kind, number))
                number += 1

    def _next_address(self) -> str:
        now = time.monotonic()
        addresses = [node.http for node in self._cluster.all]
        self._draw.shuffle(addresses)
        return min(addresses, key=lambda address: self._shunned.get(address, 0.0) > now)

    async def _operate(self, kind: str, number: int) -> None:
        began = time.monotonic()
        created = int(time.time() * 1000)
        attempts = 0
        lost_connections = 0
        failure: str | None = ""
        while failure is not None and time.monotonic() - began < _OPERATION_SECONDS:
            address = self._next_address()
            attempts += 1
            may_go_on = False
            try:
                failure = await self._attempt(kind, number, created, address)
            except HTTPFailure as lost:
                # It says nothing of the other nodes.
                failure = str(lost)
                lost_connections += 1
                may_go_on = lost_connections % len(self._cluster.all) != 0
            if failure is not None:
                self._shunned[address] = time.monotonic() + _SHUNNED_SECONDS
                if not may_go_on:
                    await asyncio.sleep(self._draw.uniform(0, 0.01 * 2 ** min(attempts, 6)))
        seconds = time.monotonic() - began
        self.operations.append(Operation(kind, began, seconds, attempts, failure))

    async def _attempt(self, kind: str, number: int, created: int, address: str) -> str | None:
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                if kind == "write":
                    batch = make_batch(self._seed, 0, number)
                    answer = await post(self._client, self._seed, address, batch, created)
                else:
                    key = KEYS[number % len(KEYS)]
                    answer = await self._client.get(
                        address, f"/v1/counts/{TYPE}/{key}?consistency=QUORUM"
                    )
        except TimeoutError:
            return f"no answer in {_ATTEMPT_SECONDS:g} s"
        return None if answer.status == 200 else f"{answer.status} {answer.text()[:200]}"


@dataclass(frozen=True)
class Phase:
    name: str
    operations: list[Operation]

    def seconds(self, kind: str) -> list[float]:
        return [o.seconds for o in self.operations if o.kind == kind and o.failure is None]

    @property
    def failures(self) -> list[Operation]:
        return [operation for operation in self.operations if operation.failure is not None]

    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "operations": len(self.operations),
            "failed": len(self.failures),
            "retried": sum(1 for operation in self.operations if operation.attempts > 1),
        }
        for kind in ("write", "read"):
            seconds = self.seconds(kind)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                figures[f"{kind}_{name}_ms"] = round(percentile(seconds, share) * 1000, 2)
        return figures


class AvailabilityResult:
    def __init__(self, options: Options, phases: list[Phase], victim: str) -> None:
        self._options = options
        self._phases = phases
        self._victim = victim
        healthy, killed = phases[0].figures(), phases[1].figures()
        self._slowdown = killed["write_p99_ms"] / max(healthy["write_p99_ms"], 0.001)
        self._failures = [failure for phase in phases for failure in phase.failures]

    @property
    def is_clean(self) -> bool:
        return not self._failures and self._slowdown <= _SLOWDOWN_MAX

    def show(self) -> None:
        terminal.title(f"Availability (seed {self._options.seed}; {self._victim} is killed)")
        names = ("p50", "p99", "max")
        terminal.say(f"  {'':28}{'writes, ms':>26}{'reads, ms':>26}{'retried':>10}{'failed':>8}")
        for phase in self._phases:
            figures = phase.figures()
            cells = [
                " · ".join(f"{figures[f'{kind}_{name}_ms']:.1f}" for name in names)
                for kind in ("write", "read")
            ]
            terminal.say(
                f"  {phase.name:28}{cells[0]:>26}{cells[1]:>26}{figures['retried']:>10}"
                f"{figures['failed']:>8}"
            )
        terminal.say(f"  ({' · '.join(names)})")
        for operation in self._failures[:5]:
            terminal.fail(
                f"a {operation.kind} failed after {operation.attempts} attempts in "
                f"{operation.seconds:.1f} s: {operation.failure}"
            )
        if not self._failures:
            count = sum(len(phase.operations) for phase in self._phases)
            terminal.hold(f"none of {count:,} operations at QUORUM failed")
        words = (
            f"p99 of writes after the kill is {self._slowdown:.2f} times the healthy one "
            f"(allowed: {_SLOWDOWN_MAX:g})"
        )
        (terminal.hold if self._slowdown <= _SLOWDOWN_MAX else terminal.fail)(words)

    def json(self) -> dict[str, Any]:
        return {
            "seed": self._options.seed,
            "killed": self._victim,
            "slowdown": round(self._slowdown, 3),
            "phases": {phase.name: phase.figures() for phase in self._phases},
        }


async def run_availability(options: Options, directory: Path) -> AvailabilityResult:
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
    steady = SteadyClient(cluster, client, options.seed)
    marks: list[tuple[str, float]] = []
    victim: Node = random.Random(f"victim/{options.seed}").choice(cluster.all)
    try:
        await cluster.check_ports([])
        await cluster.start()
        load = [
            asyncio.create_task(steady.run("write", _WRITES_PER_SECOND)),
            asyncio.create_task(steady.run("read", _READS_PER_SECOND)),
        ]
        await asyncio.sleep(_WARM_UP_SECONDS)
        marks.append(("healthy", time.monotonic()))
        await asyncio.sleep(_PHASE_SECONDS)
        marks.append(("the 10 s after the kill", time.monotonic()))
        await victim.kill()
        await asyncio.sleep(_PHASE_SECONDS)
        marks.append(("the 10 s after its start", time.monotonic()))
        await victim.start()
        await asyncio.sleep(_PHASE_SECONDS)
        marks.append(("end", time.monotonic()))
        # What began before the end is waited for: an operation that hangs is a failure too.
        await asyncio.sleep(_OPERATION_SECONDS)
        for task in load:
            task.cancel()
        await asyncio.wait(load)
        if ends:
            raise NodeError(f"ended by itself: {'; '.join(ends)}; see {directory / 'logs'}")
    finally:
        await cluster.stop()
        client.close()
    phases = [
        Phase(name, [o for o in steady.operations if begin <= o.began < end])
        for (name, begin), (_, end) in zip(marks, marks[1:])
    ]
    return AvailabilityResult(options, phases, victim.name)
