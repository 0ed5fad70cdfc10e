"""Whether an event costs the same when there are many: one node takes one run of events after the
other, each of another hour, and the rate of each is held against that of all."""

from __future__ import annotations

import datetime
import statistics

import terminal
from measured import Measured
from peer_quipu import processor_seconds

_SPREAD = 0.15
_FIRST_HOUR = datetime.datetime(2026, 1, 1)


class Flat(Measured):
    nodes = 1

    async def run(self) -> None:
        events, steps = self.options.events, self.options.steps
        terminal.title(f"Cost per event from {events:,} to {events * steps:,} events, one node")
        file = self.directory / "events.ndjson"
        node = self.cluster.all[0]
        rates: list[int] = []
        costs: list[float] = []
        try:
            await self.start()
            for step in range(steps):
                start = _FIRST_HOUR + datetime.timedelta(hours=step)
                end = start + datetime.timedelta(hours=1)
                # What the node does while the next events are made is part of what these cost.
                used = processor_seconds(node)
                await self.generate(
                    file,
                    *("--keys", "100000", "--types", "view,like,share", "--seed", str(step + 1)),
                    *("--from", f"{start.isoformat()}Z", "--to", f"{end.isoformat()}Z"),
                )
                if costs:
                    costs[-1] += processor_seconds(node) - used
                used = processor_seconds(node)
                summary = await self.send([file])
                rates.append(summary["events_per_second"])
                costs.append(processor_seconds(node) - used)
                cells = int(await self.cluster.metric(node, "quipu_table_cells"))
                terminal.say(
                    f"{(step + 1) * events:>13,} events  {rates[-1]:>10,} events/s  "
                    f"{cells:>12,} cells in tables"
                )
        finally:
            await self.stop()
        self._judge(rates, [cost / events * 1e6 for cost in costs])

    def _judge(self, rates: list[int], costs: list[float]) -> None:
        median = statistics.median(rates)
        least, greatest = min(rates) / median, max(rates) / median
        self.figures |= {"rates": rates, "processor_us_per_event": costs}
        terminal.say(
            f"of the processors an event took the node {min(costs):.3f} to {max(costs):.3f} us, "
            f"the first ones {costs[0]:.3f}"
        )
        terminal.say(
            f"the first {self.options.events:,} events: {rates[0] / median:.2f} of the median; "
            f"mean {statistics.mean(rates):,.0f} events/s"
        )
        self.target(
            least >= 1 - _SPREAD and greatest <= 1 + _SPREAD,
            f"events/s are {least:.2f} to {greatest:.2f} of their median {median:,.0f} (within "
            f"{_SPREAD:.0%})",
        )
