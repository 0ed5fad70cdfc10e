"""What the acts of the nemesis share: the nodes, the links, who is busy, and what it costs when a
node ends that nobody ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, Node
from http_client import HTTPClient
from ledger import Ledger
from proxies import Link, Network

# How often a node that ends by itself is started again.
_REPAIRS_MAX = 5


@dataclass
class Stage:
    cluster: Cluster
    network: Network
    ledger: Ledger
    client: HTTPClient
    seed: int
    faults: frozenset[str]
    # Ports for a second process under a node's name.
    twin_http_port: int
    twin_peer_port: int

    def __post_init__(self) -> None:
        self.busy: set[str] = set()
        # Whether nodes that end are looked after: not before all have started, nor at the end.
        self.is_running = False
        self._repairs: set[asyncio.Task[None]] = set()
        self._repair_counts: Counter[str] = Counter()

    @property
    def snapshots(self) -> Path:
        return self.cluster.directory / "snapshots"

    def snapshot_of(self, node: Node) -> Path:
        return self.snapshots / node.name

    def links(self, source: Node | None, target: Node | None) -> list[Link]:
        """The links from `source` to `target`; nil stands for all nodes."""
        return [
            link
            for (a, b), link in self.network.links.items()
            if (source is None or a == source.name) and (target is None or b == target.name)
        ]

    def free(self, draw: random.Random, count: int) -> list[Node] | None:
        """So many running nodes with which no other act is busy."""
        nodes = [
            node
            for node in self.cluster.all
            if node.is_running and not node.is_paused and node.name not in self.busy
        ]
        return draw.sample(nodes, count) if len(nodes) >= count else None

    @contextlib.contextmanager
    def holding(self, nodes: list[Node]) -> Iterator[None]:
        names = {node.name for node in nodes}
        self.busy |= names
        try:
            yield
        finally:
            self.busy -= names

    # ---- ends that nobody asked for

    def node_ended(self, node: Node, status: int) -> None:
        if not self.is_running:
            return
        words = " | ".join(node.log_tail(3))
        self.ledger.violate("a node ended by itself", f"{node.name}, status {status}: {words}")
        self._repair(node)

    def _repair(self, node: Node) -> None:
        self._repair_counts[node.name] += 1
        if self._repair_counts[node.name] > _REPAIRS_MAX:
            return

        async def repair() -> None:
            await asyncio.sleep(1)
            if not self.is_running or node.is_running:
                return
            await node.start()

        task = asyncio.create_task(repair())
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)


@dataclass(frozen=True)
class Act:
    """One kind of fault. `run` returns false when it found nobody to do it to."""

    name: str
    weight: int
    run: Callable[[Stage, random.Random], Awaitable[bool]]
    # Whether it waits until all nodes are up and voting and no other act goes on, and lets none
    # begin before it has ended. The fault budget asks for that.
    needs_quiet: bool = False
    # Whether it is done unless --faults says otherwise.
    is_default: bool = True
