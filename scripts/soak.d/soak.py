"""The run: three nodes, a stream of events, probes of each node, kills of n2 and n3 by turns, and
samples of all of it. In the end every count is compared with what was sent, through each node."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import terminal
from cluster import READY_SECONDS, Cluster, Node
from final_checks import FinalChecks
from http_client import HTTPClient
from ledger import Ledger
from options import Options
from probes import Probes
from sampler import Sample, Sampler
from stream import Stream, StreamError

_NAMED_MAX = 5
_PROGRESS_SECONDS = 60.0
# How long a killed node stays away.
_DEAD_SECONDS = (1.0, 10.0)


@dataclass
class Outcome:
    samples: list[Sample] = field(default_factory=list)
    # When which node was killed.
    kills: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def fail(self, words: str) -> None:
        self.failures.append(words)
        terminal.fail(words)


class Soak:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._client = HTTPClient()
        self._ledger = Ledger()
        self.outcome = Outcome()
        settings = (
            f"horizon: {options.horizon}",
            f"memtable_size: {options.memtable}",
            "memtable_flush_age: 1m",
            "batch_status_retention: 1h",
        )
        self.cluster = Cluster(
            options.directory,
            options.binary,
            3,
            options.http_port,
            options.peer_port,
            on_end=self._node_ended,
            http_client=self._client,
            settings=settings,
        )
        self._stream = Stream(options, self.cluster)
        self._probes = Probes(self.cluster, self._ledger, self._client, options.seed)

    def _node_ended(self, node: Node, status: int) -> None:
        words = " | ".join(node.log_tail(3))
        self.outcome.fail(f"{node.name} ended by itself with status {status}: {words}")

    async def run(self) -> None:
        self._stream.prepare()
        try:
            await self.cluster.check_ports([])
            await self.cluster.start()
            with (self._options.output / "samples.tsv").open("w") as file:
                sampler = Sampler(self.cluster, self._probes, self._options.sample_every, file)
                self.outcome.samples = sampler.samples
                await self._load(sampler)
            await self._check()
        except StreamError as error:
            self.outcome.fail(str(error))
        finally:
            await self.cluster.stop()
            self._client.close()
        self.outcome.failures += [f"{v.check}: {v.detail}" for v in self._ledger.violations]

    async def _load(self, sampler: Sampler) -> None:
        numbers = range(len(self.cluster.all))
        watching = [
            asyncio.create_task(work)
            for work in (sampler.run(), self._kill(sampler), self._report(sampler))
        ]
        probing = [asyncio.create_task(self._probes.write(number)) for number in numbers]
        probing += [asyncio.create_task(self._probes.read(number)) for number in numbers]
        stream = asyncio.create_task(self._stream.run())
        everything = [*watching, *probing, stream]
        try:
            # None of them ends by itself: what does has failed.
            done, _ = await asyncio.wait(
                everything, timeout=self._options.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            await self._stop(watching[1], stream, probing)
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _stop(
        self,
        killing: asyncio.Task[None],
        stream: asyncio.Task[None],
        probing: list[asyncio.Task[None]],
    ) -> None:
        """The load ends with what is under way; whoever is away comes back for that."""
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        await asyncio.gather(*(node.start() for node in self.cluster.all))
        self._stream.stop()
        await stream
        self._probes.stop()
        await asyncio.gather(*probing)

    async def _kill(self, sampler: Sampler) -> None:
        """n1 is never killed: what it loses with time can be seen."""
        draw = random.Random(f"kills/{self._options.seed}")
        turn = 0
        while True:
            await asyncio.sleep(self._options.kill_every * draw.uniform(0.7, 1.3))
            node = self.cluster.all[1 + turn % 2]
            turn += 1
            late = await self.cluster.wait_until_ready(READY_SECONDS)
            if late:
                self.outcome.fail(f"{sampler.elapsed():.0f} s: not ready: {'; '.join(late)}")
                continue
            await node.kill()
            self.outcome.kills.append((round(sampler.elapsed(), 1), node.name))
            await asyncio.sleep(draw.uniform(*_DEAD_SECONDS))
            await node.start()

    async def _report(self, sampler: Sampler) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            latest = {sample.node: sample for sample in sampler.samples[-3:]}
            memory = ", ".join(
                f"{name} {sample.rss >> 20} MiB" if sample.rss else f"{name} away"
                for name, sample in sorted(latest.items())
            )
            events = self._stream.rounds * self._stream.events
            batches = self._ledger.statistics["batches acknowledged"]
            terminal.say(
                f"{sampler.elapsed() / 60:6.1f} min  {events:,} events of the stream, {batches:,} "
                f"batches of the probes, {len(self.outcome.kills)} kills; {memory}"
            )

    # ---- in the end

    async def _check(self) -> None:
        terminal.title("Every count")
        late = await self.cluster.wait_until_ready(READY_SECONDS)
        if late:
            self.outcome.fail(f"not ready after the load: {'; '.join(late)}")
            return
        self.outcome.figures = {
            "stream_events": self._stream.rounds * self._stream.events,
            "stream_rounds": self._stream.rounds,
            "stream_retries": self._stream.retries,
            "kills": len(self.outcome.kills),
            **dict(sorted(self._ledger.statistics.items())),
        }
        for name, value in self.outcome.figures.items():
            terminal.say(f"  {name:36} {value:>14,}")
        wrong = await self._stream.differences(self._client)
        for words in wrong[:_NAMED_MAX]:
            self.outcome.fail(words)
        if not wrong:
            cells = self._stream.number_of_cells
            terminal.hold(f"the stream: all {cells:,} cells are right through each node")
        checks = FinalChecks(
            self.cluster, self._ledger, self._client, self._options.seed, self._options.binary
        )
        for node in self.cluster.all:
            await checks.expect_exact(node, "QUORUM")
        await checks.audit()
