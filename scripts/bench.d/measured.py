"""What the parts have in common: nodes, bodies of 1,000 events, the commands of Quipu, targets,
totals."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import events
import terminal
from cluster import Cluster, Node, die_with_parent
from http_client import HTTPClient
from options import Options
from peer import PeerError

BODY_EVENTS = 1000
BODIES = 32
_KEYS = 5000
_TYPE = "view"


class Measured:
    # How many there are; each holds everything.
    nodes = 3

    def __init__(self, options: Options, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.failures: list[str] = []
        self.missed: list[str] = []
        self.figures: dict[str, Any] = {}
        self.client = HTTPClient()
        self.cluster = Cluster(
            directory,
            options.binary,
            self.nodes,
            options.http_port,
            options.peer_port,
            on_end=self._node_ended,
            http_client=self.client,
            replication_factor=self.nodes,
        )

    def _node_ended(self, node: Node, status: int) -> None:
        self.fail(f"{node.name} ended by itself with status {status}; see {node.log}")

    def fail(self, words: str) -> None:
        self.failures.append(words)
        terminal.fail(words)

    def target(self, is_met: bool, words: str) -> None:
        if is_met:
            terminal.hold(words)
        else:
            self.missed.append(words)
            terminal.fail(words)

    async def start(self) -> None:
        await self.cluster.check_ports([])
        await self.cluster.start()

    async def stop(self) -> None:
        await self.cluster.stop()
        self.client.close()

    async def run_quipu(self, *words: str) -> str:
        """What a command prints, which must succeed; its log is only shown where it fails."""
        process = await asyncio.create_subprocess_exec(
            str(self.options.binary),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        output, errors = await process.communicate()
        if process.returncode != 0:
            text = (output + errors).decode("utf-8", "replace").strip()
            raise PeerError(f"quipu {words[0]} ended with {process.returncode}: {text[-300:]}")
        return output.decode("utf-8", "replace").strip()

    async def generate(self, file: Path, *words: str) -> None:
        """The events of --events in a file, written out before anything is timed."""
        with file.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(self.options.binary),
                "generate",
                "--events",
                str(self.options.events),
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                preexec_fn=die_with_parent,
            )
            if await process.wait() != 0:
                raise PeerError(f"quipu generate ended with {process.returncode}")
            os.fsync(output.fileno())

    async def send(self, files: list[Path], *words: str) -> dict[str, Any]:
        """The summary of the sender, which must have counted --events of each file."""
        addresses = ",".join(node.http for node in self.cluster.all)
        names = [str(file) for file in files]
        text = await self.run_quipu("send", *names, "--node", addresses, "--json", *words)
        summary: dict[str, Any] = json.loads(text.splitlines()[-1])
        wanted = len(files) * self.options.events
        if summary["counted"] != wanted:
            raise PeerError(f"{summary['counted']:,} events are counted, of {wanted:,}")
        return summary

    def make_bodies(self) -> list[bytes]:
        """Bodies of 1,000 events each, all of which can be counted."""
        words = ["--events", str(BODIES * BODY_EVENTS), "--keys", str(_KEYS), "--types", _TYPE]
        made = subprocess.run(
            [str(self.options.binary), "generate", *words], stdout=subprocess.PIPE, check=True
        )
        lines = made.stdout.splitlines(keepends=True)
        starts = range(0, len(lines), BODY_EVENTS)
        return [b"".join(lines[start : start + BODY_EVENTS]) for start in starts]

    async def check_counts(self, bodies: list[bytes], times: list[int]) -> None:
        """Each body was counted so many times: every key, through each node."""
        wanted: Counter[str] = Counter()
        for body, count in zip(bodies, times):
            for line in body.splitlines():
                event = events.parse(line)
                if event is not None and count:
                    wanted[event[1]] += count
        for node in self.cluster.all:
            target = f"/v1/top/{_TYPE}?k=100000&consistency=QUORUM"
            answer = await self.client.get(node.http, target, timeout=60)
            if answer.status != 200:
                raise PeerError(f"{node.name} answers {answer.status}: {answer.text()[:200]}")
            found = {row["key"]: int(row["count"]) for row in answer.json()["rows"]}
            wrong = [key for key in wanted | found if wanted.get(key) != found.get(key)]
            if wrong:
                self.fail(
                    f"{node.name}: {len(wrong)} keys are wrong; {sum(found.values()):,} events, "
                    f"must be {wanted.total():,}"
                )
            else:
                terminal.hold(
                    f"{node.name} at QUORUM: {len(found):,} keys, {wanted.total():,} events, "
                    "all right"
                )
