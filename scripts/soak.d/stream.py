"""The bulk of the load: rounds of the same events, each sent by `quipu send` under new ids at a
steady rate to all nodes. What each cell must hold in the end is the rounds times what one round
holds, counted here from its file."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter

from cluster import Cluster, die_with_parent
from http_client import HTTPClient, HTTPFailure
from options import Options

TYPE = "view"
_KEYS = 10_000
_ROUND_SECONDS = 30
_ATTEMPTS = 20


class StreamError(Exception):
    pass


class Stream:
    def __init__(self, options: Options, cluster: Cluster) -> None:
        self._options = options
        self._cluster = cluster
        self._file = options.directory / "round.ndjson"
        self._stopping = False
        self.events = options.rate * _ROUND_SECONDS
        self.rounds = 0
        # Events of one round by (minute, key).
        self._cells: Counter[tuple[str, str]] = Counter()
        self.retries = 0

    def prepare(self) -> None:
        words = ["--events", str(self.events), "--keys", str(_KEYS), "--types", TYPE]
        with self._file.open("wb") as file:
            subprocess.run([str(self._options.binary), "generate", *words], stdout=file, check=True)
        with self._file.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                self._cells[event["time"][:16], event["key"]] += 1

    def stop(self) -> None:
        """No new round; the one under way is sent to its end."""
        self._stopping = True

    async def run(self) -> None:
        while not self._stopping:
            await self._send()
            self.rounds += 1

    async def _send(self) -> None:
        addresses = ",".join(node.http for node in self._cluster.all)
        with (self._options.directory / "logs" / "sender.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(self._options.binary),
                "send",
                str(self._file),
                "--rate",
                f"{self._options.rate}/s",
                "--json",
                "--node",
                addresses,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        words = output.decode("utf-8", "replace").strip()
        summary = json.loads(words.splitlines()[-1]) if words else {}
        if process.returncode != 0 or summary.get("counted") != self.events:
            raise StreamError(
                f"round {self.rounds + 1}: quipu send ends with {process.returncode}: "
                f"{words[-300:]}; see {self._options.directory / 'logs' / 'sender.log'}"
            )
        self.retries += summary["retries"]

    async def differences(self, client: HTTPClient) -> list[str]:
        """What is not exact, in words: every cell through every node."""
        found: list[str] = []
        for minute in sorted({minute for minute, _ in self._cells}):
            wanted = {
                key: count * self.rounds
                for (start, key), count in self._cells.items()
                if start == minute
            }
            for node in self._cluster.all:
                counts = await self._minute(client, node.http, minute)
                wrong = [key for key in wanted | counts if wanted.get(key) != counts.get(key)]
                if wrong:
                    key = sorted(wrong)[0]
                    found.append(
                        f"{node.name}, {minute}: {len(wrong)} keys, of them {key}: "
                        f"{counts.get(key, 0)}, must be {wanted.get(key, 0)}"
                    )
        return found

    @property
    def number_of_cells(self) -> int:
        return len(self._cells)

    async def _minute(self, client: HTTPClient, address: str, minute: str) -> dict[str, int]:
        # A window belongs to a range in which it begins.
        target = f"/v1/top/{TYPE}?from={minute}:00Z&to={minute}:01Z&k={_KEYS}"
        words = ""
        for attempt in range(_ATTEMPTS):
            try:
                answer = await client.get(address, f"{target}&consistency=QUORUM", timeout=30)
            except HTTPFailure as failure:
                words = str(failure)
            else:
                if answer.status == 200:
                    rows = answer.json()["rows"]
                    return {row["key"]: int(row["count"]) for row in rows}
                words = f"{answer.status} {answer.text()[:200]}"
            await asyncio.sleep(0.1 * (attempt + 1))
        raise StreamError(f"{address} tells nothing of {minute}: {words}")
