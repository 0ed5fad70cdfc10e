"""Three times what the cluster can take, for a minute: it refuses with 429 and Retry-After, its
memory stays bounded, and when it is over the old throughput is back within half a minute (design,
L7). Then every batch that was not answered is sent again, and every count is checked: what was
acknowledged or sent again is counted once, what was refused is not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import terminal
from cluster import die_with_parent
from flood_sender import NO_ANSWER
from http_client import HTTPFailure
from measured import BODY_EVENTS, Measured
from peer import PeerError, memory_peak
from peer_quipu import process_id

_PROGRAM = Path(__file__).with_name("flood_sender.py")
_SENDERS = 2
# Connections of each sender: with those of what comes after, far fewer than each node holds open.
_STEADY_WORKERS = 128
_FLOOD_WORKERS = 1350
_CAPACITY_SECONDS = 10
_STEADY_SECONDS = 15
_AFTER_SECONDS = 40
_FLOOD_FACTOR = 3.0
# Of the capacity: a load that the cluster can carry.
_STEADY_SHARE = 0.8
_RECOVERED_SHARE = 0.9
# Below that the cluster works for batches whose clients no longer wait.
_KEPT_SHARE = 0.5
_RECOVERY_MAX_SECONDS = 30
# Seconds over which throughput is taken as recovered.
_RECOVERY_WINDOW = 3
_MEMORY_MAX = 1536 << 20
_LINE_MAX = 64 << 20
_REFUSED = (429, 503)
_RESOLVE_ATTEMPTS = 20


@dataclass
class Phase:
    """What one load came to: by second and status, and of each sender its batches."""

    seconds: dict[int, Counter[str]] = field(default_factory=dict)
    batches: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    # What the senders took of the processors.
    processor_seconds: float = 0.0

    def total(self, name: str) -> int:
        return sum(counter[name] for counter in self.seconds.values())

    def rate(self, name: str, first: int, last: int) -> float:
        """Batches a second in the seconds from `first` to before `last`, from the beginning."""
        start = int(self.began) + 1
        chosen = range(start + first, start + last)
        return sum(self.seconds.get(s, Counter())[name] for s in chosen) / max(1, len(chosen))


class Flood(Measured):
    async def run(self) -> None:
        terminal.title(f"Flood: {_FLOOD_FACTOR:g} times the capacity for {self.options.seconds} s")
        self._bodies = self.make_bodies()
        self._file = self.directory / "bodies"
        self._file.write_bytes(b"".join(self._bodies))
        self._memory: dict[str, list[int]] = {}
        # Batches that were counted although their client heard nothing in time.
        self._late = 0
        try:
            await self.start()
            watching = asyncio.create_task(self._watch_memory())
            try:
                phases = await self._load()
            finally:
                watching.cancel()
            await self._settle(phases)
            peaks = {node.name: memory_peak(process_id(node)) for node in self.cluster.all}
        finally:
            await self.stop()
        self._judge_memory(peaks)

    async def _load(self) -> list[Phase]:
        capacity = await self._send(None, _STEADY_WORKERS, _CAPACITY_SECONDS)
        limit = capacity.rate("200", 2, _CAPACITY_SECONDS - 1)
        if not limit:
            raise PeerError("no batch was counted: there is no capacity to flood")
        terminal.say(f"capacity            {_words(limit)}, {_STEADY_WORKERS * _SENDERS} at once")
        before = await self._send(_STEADY_SHARE * limit, _STEADY_WORKERS, _STEADY_SECONDS)
        usual = before.rate("200", 2, _STEADY_SECONDS - 1)
        terminal.say(f"before              {_words(usual)} of {_words(_STEADY_SHARE * limit)}")
        length = int(self.options.seconds)
        flooding = asyncio.create_task(self._send(_FLOOD_FACTOR * limit, _FLOOD_WORKERS, length))
        await asyncio.sleep(length)
        # What the flood still waits for is part of what must be recovered from.
        after = await self._send(_STEADY_SHARE * limit, _STEADY_WORKERS, _AFTER_SECONDS)
        flood = await flooding
        self._judge_flood(flood, length, _FLOOD_FACTOR * limit, usual)
        self._judge_recovery(after, usual)
        await self._tell_expired()
        self.figures |= {"capacity": round(limit), "before": round(usual)}
        return [capacity, before, flood, after]

    async def _tell_expired(self) -> None:
        """Where a flood went that was neither counted nor refused."""
        for name in ("quipu_peer_messages_expired_total", "quipu_requests_refused_total"):
            counts = [int(await self.cluster.metric(node, name)) for node in self.cluster.all]
            terminal.say(f"  {name}: {', '.join(f'{count:,}' for count in counts)}")
            self.figures[name] = counts

    # ---- senders

    async def _send(self, rate: float | None, workers: int, seconds: int) -> Phase:
        """Batches a second, of all senders together; nil: as fast as answers come."""
        phase = Phase()
        share = None if rate is None else rate / _SENDERS
        await asyncio.gather(
            *(self._send_by_one(phase, share, workers, seconds) for _ in range(_SENDERS))
        )
        return phase

    async def _send_by_one(
        self, phase: Phase, rate: float | None, workers: int, seconds: int
    ) -> None:
        producer = str(uuid.uuid4())
        told = {
            "addresses": [node.http for node in self.cluster.all],
            "bodies": str(self._file),
            "body_events": BODY_EVENTS,
            "producer": producer,
            "rate": rate,
            "workers": workers,
            "seconds": seconds,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            str(_PROGRAM),
            json.dumps(told),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            preexec_fn=die_with_parent,
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                said = json.loads(line)
                if "outcomes" in said:
                    numbered = enumerate(said["outcomes"])
                    phase.batches += [(producer, number, *outcome) for number, outcome in numbered]
                    phase.processor_seconds += said["processor_seconds"]
                else:
                    phase.seconds.setdefault(said.pop("second"), Counter()).update(said)
            if await process.wait() != 0:
                raise PeerError(f"a sender ended with status {process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    # ---- what must hold

    def _judge_flood(self, flood: Phase, length: int, wanted: float, usual: float) -> None:
        goodput = flood.rate("200", 2, length - 1)
        sent = len(flood.batches) / length
        refused = flood.total("429")
        terminal.say(
            f"during              {_words(goodput)} of {_words(wanted)} wanted, {_words(sent)} "
            f"sent on {_FLOOD_WORKERS * _SENDERS} connections"
        )
        taken = flood.processor_seconds / length
        terminal.say(f"  of {os.cpu_count()} processors the senders took {taken:.2f}")
        names = sorted({name for counter in flood.seconds.values() for name in counter})
        terminal.say("  " + ", ".join(f"{name}: {flood.total(name):,}" for name in names))
        self.figures |= {
            "during": round(goodput),
            "during_share": round(goodput / usual, 3),
            "flood": {name: flood.total(name) for name in names},
        }
        self.target(refused > 0, f"{refused:,} batches were refused with 429")
        self.target(
            goodput >= _KEPT_SHARE * usual,
            f"{goodput / usual:.0%} of the goodput before during the flood (at least "
            f"{_KEPT_SHARE:.0%})",
        )
        missing = flood.total("without Retry-After")
        if missing:
            self.fail(f"{missing:,} refusals came without Retry-After")
        else:
            terminal.hold("every refusal says Retry-After")

    def _judge_recovery(self, after: Phase, usual: float) -> None:
        recovered = next(
            (
                second + _RECOVERY_WINDOW
                for second in range(_AFTER_SECONDS - _RECOVERY_WINDOW)
                if after.rate("200", second, second + _RECOVERY_WINDOW) >= _RECOVERED_SHARE * usual
            ),
            None,
        )
        last = after.rate("200", _AFTER_SECONDS - 11, _AFTER_SECONDS - 1)
        terminal.say(f"after, last 10 s    {_words(last)}")
        self.figures |= {"after": round(last), "recovery_seconds": recovered}
        when = "not" if recovered is None else f"{recovered} s after the flood"
        self.target(
            recovered is not None and recovered <= _RECOVERY_MAX_SECONDS,
            f"90 % of the goodput before is back: {when} (at most {_RECOVERY_MAX_SECONDS} s)",
        )

    async def _watch_memory(self) -> None:
        with (self.directory / "memory.tsv").open("w") as file:
            while True:
                for node in self.cluster.all:
                    used = _resident(process_id(node))
                    self._memory.setdefault(node.name, []).append(used)
                    file.write(f"{time.time():.0f}\t{node.name}\t{used}\n")
                await asyncio.sleep(1)

    def _judge_memory(self, peaks: dict[str, int]) -> None:
        for name, peak in peaks.items():
            seen = self._memory[name]
            words = (
                f"memory of {name}: {seen[0] >> 20} MiB at rest, {peak >> 20} at most (below "
                f"{_MEMORY_MAX >> 20}), {seen[-1] >> 20} after"
            )
            self.target(peak < _MEMORY_MAX, words)
        self.figures["memory_peak_bytes"] = peaks

    async def _settle(self, phases: list[Phase]) -> None:
        """What may or may not be counted is sent again until it is; then all is compared."""
        times = [0] * len(self._bodies)
        unresolved = []
        for batch in (batch for phase in phases for batch in phase.batches):
            body, status = batch[2], batch[4]
            if status == 200:
                times[body] += 1
            elif status not in _REFUSED:
                unresolved.append(batch)
                if status not in (NO_ANSWER, 504):
                    self.fail(f"batch {batch[:2]}: an honest batch is answered {status}")
        gate = asyncio.Semaphore(16)
        await asyncio.gather(*(self._resolve(batch, gate) for batch in unresolved))
        for _, _, body, _, _ in unresolved:
            times[body] += 1
        terminal.say(
            f"{len(unresolved):,} batches without an answer were sent again; "
            f"{self._late:,} of them had been counted"
        )
        self.figures |= {"sent_again": len(unresolved), "counted_late": self._late}
        await self.check_counts(self._bodies, times)

    async def _resolve(
        self, batch: tuple[str, int, int, int, int], gate: asyncio.Semaphore
    ) -> None:
        producer, sequence, body, created, _ = batch
        headers = {
            "Content-Type": "application/x-ndjson",
            "Quipu-Producer": producer,
            "Quipu-Sequence": str(sequence),
            "Quipu-Created": str(created),
        }
        words = ""
        async with gate:
            for attempt in range(_RESOLVE_ATTEMPTS):
                node = self.cluster.all[attempt % 3]
                target = "/v1/events?consistency=QUORUM"
                try:
                    answer = await self.client.request(
                        node.http, "POST", target, self._bodies[body], headers
                    )
                except HTTPFailure as failure:
                    words = str(failure)
                else:
                    if answer.status == 200:
                        self._late += answer.json()["duplicate"]
                        return
                    words = f"{answer.status} {answer.text()[:200]}"
                await asyncio.sleep(0.1 * (attempt + 1))
        self.fail(f"batch {producer} {sequence} finds no outcome: {words}")


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096


def _words(batches: float) -> str:
    return f"{batches * BODY_EVENTS:,.0f} events/s"
