"""Quipu beside what else counts events, on one machine, with one input, in turns: A B C, A B C, so
that what the machine does meanwhile hits all alike. Each turn begins with nothing and ends with all
counts checked against the input; a wrong one is a failure."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median
from typing import Any

import events
import terminal
from events import Input
from options import Options
from peer import Outcome, Peer, PeerError, differences
from peer_chdb import Chdb
from peer_postgres import Postgres
from peer_quipu import Quipu
from peer_redis import Redis

_NAMED_MAX = 3


class Comparison:
    def __init__(self, options: Options, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self.failures: list[str] = []
        self._begun = 0
        self._rates: dict[str, list[float]] = {}
        self._memory: dict[str, int] = {}

    def _peers(self) -> list[Peer]:
        options, prepared = self._options, self._directory
        http, peer, other = options.http_port, options.peer_port, options.other_port
        return [
            Quipu(options.binary, 1, http, peer),
            Quipu(options.binary, 3, http, peer),
            Redis(other, False, prepared / "redis.commands"),
            Redis(other, True, prepared / "redis.commands"),
            Postgres(other, False, prepared / "rows.sql"),
            Postgres(other, True, prepared / "rows.sql"),
            Chdb(options.cache / "chdb", False),
            Chdb(options.cache / "chdb", True),
        ]

    async def run(self) -> None:
        terminal.title("Quipu beside others")
        peers = self._present()
        data = self._make_input()
        for peer in peers:
            peer.prepare(data)
        for turn in range(self._options.turns):
            for peer in peers:
                await self._turn(peer, turn, data)
        self._show(peers)

    def _present(self) -> list[Peer]:
        present = []
        for peer in self._peers():
            missing = peer.missing()
            if missing is None:
                present.append(peer)
            else:
                terminal.say(f"{peer.name}: skipped, not here; to have it: {missing}")
        return present

    def _make_input(self) -> Input:
        file, count = self._directory / "events.ndjson", self._options.events
        command = events.generate(self._options.binary, file, count)
        terminal.say(f"$ {command}")
        data = events.count(file, count)
        terminal.say(
            f"{data.good:,} events, counted by Python; of {len(data.minutes)} series each minute"
        )
        return data

    async def _turn(self, peer: Peer, turn: int, data: Input) -> None:
        self._begun += 1
        directory = self._directory / f"turn-{self._begun}"
        directory.mkdir()
        failures = len(self.failures)
        try:
            outcome = await peer.measure(data, directory)
        except PeerError as error:
            self._fail(f"{peer.name}: {error}")
        else:
            self._take(peer, turn, outcome, data)
        # What failed stays for a look.
        if len(self.failures) == failures:
            shutil.rmtree(directory)

    def _take(self, peer: Peer, turn: int, outcome: Outcome, data: Input) -> None:
        wrong = differences(outcome, data)
        for words in wrong[:_NAMED_MAX]:
            self._fail(f"{peer.name}: {words}")
        rate = data.good / outcome.seconds
        self._rates.setdefault(peer.name, []).append(rate)
        if outcome.memory_bytes is not None:
            known = self._memory.get(peer.name, 0)
            self._memory[peer.name] = max(known, outcome.memory_bytes)
        verdict = "WRONG" if wrong else "all counts right"
        terminal.say(f"turn {turn + 1}  {peer.name:48} {rate:>12,.0f} events/s, {verdict}")

    def _fail(self, words: str) -> None:
        self.failures.append(words)
        terminal.fail(words)

    def _show(self, peers: list[Peer]) -> None:
        counted = [peer for peer in peers if peer.name in self._rates]
        medians = {peer.name: median(self._rates[peer.name]) for peer in counted}
        one, three = (medians.get(peer.name) for peer in peers[:2])
        terminal.title(f"Events a second, of {self._options.turns} turns")
        names = ("best", "median", "÷ 1 node", "÷ 3 nodes", "memory")
        terminal.say(f"  {'':48}" + "".join(f"{name:>12}" for name in names))
        for peer in counted:
            memory = self._memory.get(peer.name)
            cells = [
                f"{max(self._rates[peer.name]):,.0f}",
                f"{medians[peer.name]:,.0f}",
                _ratio(medians[peer.name], one),
                _ratio(medians[peer.name], three),
                f"{memory / 2**20:,.0f} MiB" if memory else "-",
            ]
            terminal.say(f"  {peer.name:48}" + "".join(f"{cell:>12}" for cell in cells))
        terminal.say("What an acknowledgement is worth:")
        for peer in counted:
            terminal.say(f"  {peer.name:48} {peer.promise}")
        terminal.say(_MEASURED)
        if not self.failures:
            terminal.hold("every count of every turn is right")

    def json(self) -> dict[str, Any]:
        rates = {name: [round(rate) for rate in rates] for name, rates in self._rates.items()}
        return {"events_per_second": rates, "memory_bytes": self._memory}


_MEASURED = """\
What is measured: from the file of NDJSON to the last acknowledgement, sender included. Quipu and
chdb parse it themselves. For Redis and PostgreSQL one Python process parses it, as a user's would,
which is much of their time; "prepared" has that done beforehand. ÷: of the median of Quipu."""


def _ratio(rate: float, of: float | None) -> str:
    return f"{rate / of:.2f}" if of else "-"
