"""The nemesis: from a seed, every few seconds, some act of harm, at most two at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import client_acts
import disk_acts
import network_acts
import process_acts
from stage import Act, Stage

ACTS = process_acts.ACTS + network_acts.ACTS + disk_acts.ACTS + client_acts.ACTS
_AT_ONCE = 2
_QUIET_SECONDS = 20


class Nemesis:
    def __init__(self, stage: Stage, interval: float) -> None:
        self._stage = stage
        self._interval = interval
        self._acts = [act for act in ACTS if act.name in stage.faults]
        self._under_way: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        # Acts that found nobody to do it to, or no quiet.
        self.skipped: Counter[str] = Counter()

    async def run(self, seconds: float, kills_min: int) -> None:
        """Returns when the time is over and all that it did has ended. Where fewer processes were
        killed by then, it goes on for at most as long again."""
        draw = random.Random(f"nemesis/{self._stage.seed}")
        statistics = self._stage.ledger.statistics
        deadline = time.monotonic() + seconds
        limit = deadline + seconds
        weights = [act.weight for act in self._acts]
        async with asyncio.TaskGroup() as group:
            while self._acts:
                # Drawn whether it can be done or not, so that a seed is one list of acts.
                gap = self._interval * draw.uniform(0.4, 1.6)
                act = draw.choices(self._acts, weights)[0]
                own = random.Random(draw.getrandbits(64))
                has_enough = statistics["kills"] >= kills_min
                if time.monotonic() + gap >= (deadline if has_enough else limit):
                    break
                await asyncio.sleep(gap)
                if act.needs_quiet:
                    end = deadline if has_enough else limit
                    if await self._quiet(min(end, time.monotonic() + _QUIET_SECONDS)):
                        await self._do(act, own)
                    else:
                        self.skipped[act.name] += 1
                    continue
                while len(self._under_way) >= _AT_ONCE:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                task = group.create_task(self._do(act, own))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            for task in self._under_way:
                task.cancel()

    async def _do(self, act: Act, draw: random.Random) -> None:
        under_way = self._stage.ledger.faults_under_way
        under_way[act.name] += 1
        try:
            was_done = await act.run(self._stage, draw)
        finally:
            under_way[act.name] -= 1
        if was_done:
            self.done[act.name] += 1
        else:
            self.skipped[act.name] += 1

    async def _quiet(self, deadline: float) -> bool:
        """Whether all acts have ended and all nodes vote before the deadline."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=deadline - time.monotonic())
        if self._under_way:
            return False
        return not await self._stage.cluster.wait_until_ready(deadline - time.monotonic())
