"""Quipu itself, through its own sender, as any user has it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from cluster import Cluster, Node, die_with_parent
from events import TYPES, Input, Minutes
from http_client import HTTPClient, component
from peer import Outcome, PeerError, memory_peak

_TOP_MAX = 1_000_000


class Quipu:
    def __init__(self, binary: Path, nodes: int, http_port: int, peer_port: int) -> None:
        self._binary = binary
        self._nodes = nodes
        self._ports = http_port, peer_port
        copies = min(3, nodes)
        place = "1 node" if nodes == 1 else f"{nodes} nodes, RF {copies}, QUORUM"
        self.name = f"Quipu, {place}"
        where = "its disk" if nodes == 1 else "two of three disks"
        self.promise = f"fsynced on {where}, exactly once under its id however often it is sent"
        self._ends: list[str] = []

    def missing(self) -> str | None:
        return None

    def prepare(self, data: Input) -> None:
        pass

    async def measure(self, data: Input, directory: Path) -> Outcome:
        client = HTTPClient()
        cluster = Cluster(
            directory,
            self._binary,
            self._nodes,
            *self._ports,
            on_end=lambda node, status: self._ends.append(f"{node.name}, status {status}"),
            http_client=client,
            replication_factor=min(3, self._nodes),
        )
        try:
            await cluster.check_ports([])
            await cluster.start()
            seconds = await self._send(cluster, data)
            memory = sum(memory_peak(process_id(node)) for node in cluster.all)
            total = await _total(client, cluster.all[0])
            minutes = await _minutes(client, cluster.all[-1], data)
        finally:
            await cluster.stop()
            client.close()
        if self._ends:
            raise PeerError(f"ended by itself: {'; '.join(self._ends)}")
        return Outcome(seconds, total, minutes, memory)

    async def _send(self, cluster: Cluster, data: Input) -> float:
        addresses = ",".join(node.http for node in cluster.all)
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            str(self._binary),
            "send",
            str(data.file),
            "--node",
            addresses,
            "--json",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        output, _ = await process.communicate()
        seconds = time.monotonic() - began
        words = output.decode("utf-8", "replace").strip()
        if process.returncode != 0:
            raise PeerError(f"quipu send ended with {process.returncode}: {words[-300:]}")
        summary = json.loads(words.splitlines()[-1])
        found = summary["events"], summary["counted"], summary["dead"]
        if found != (data.lines, data.good, data.lines - data.good):
            raise PeerError(f"(events, counted, dead): {found}, of {data.lines}, {data.good} good")
        return seconds


def process_id(node: Node) -> int:
    if node.process is None or node.process.returncode is not None:
        raise PeerError(f"{node.name} does not run; see {node.log}")
    return node.process.pid


def processor_seconds(node: Node) -> float:
    """What the node's process has used, of all processors together."""
    fields = Path(f"/proc/{process_id(node)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _total(client: HTTPClient, node: Node) -> int:
    total = 0
    for kind in TYPES:
        target = f"/v1/top/{kind}?k={_TOP_MAX}&consistency=QUORUM"
        answer = await client.get(node.http, target, timeout=60)
        if answer.status != 200:
            raise PeerError(f"{node.name} answers {answer.status}: {answer.text()[:200]}")
        total += sum(int(row["count"]) for row in answer.json()["rows"])
    return total


async def _minutes(client: HTTPClient, node: Node, data: Input) -> Minutes:
    minutes: Minutes = {}
    for kind, key in data.minutes:
        target = f"/v1/counts/{kind}/{component(key)}?step=1m&consistency=QUORUM"
        answer = await client.get(node.http, target)
        if answer.status != 200:
            raise PeerError(f"{node.name} answers {answer.status}: {answer.text()[:200]}")
        windows = answer.json()["windows"]
        minutes[kind, key] = {window["start"][:16]: int(window["count"]) for window in windows}
    return minutes
