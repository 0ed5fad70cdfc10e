"""Nodes as processes: a configuration and a directory each, started and ended by process id."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from http_client import HTTPClient, HTTPFailure

# Seconds that a cluster without faults has to become ready.
READY_SECONDS = 60
STOP_SECONDS = 30
_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """The node is killed when the run ends without having stopped it, itself killed for
    instance."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class NodeError(Exception):
    pass


@dataclass
class Node:
    name: str
    http: str
    peer_port: int
    config: Path
    data: Path
    log: Path
    binary: Path
    # Called when the process ends and nobody asked for that.
    on_end: Callable[[Node, int], None]
    process: asyncio.subprocess.Process | None = None
    is_paused: bool = False
    starts: int = 0
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ends_wanted: set[int] = field(default_factory=set)
    _watches: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Starts the node, unless it runs: two who find it dead start it once."""
        async with self._starting:
            if not self.is_running:
                await self._start()

    async def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QUIPU_")}
        with self.log.open("ab") as log:
            log.write(f"---- start {self.starts + 1}\n".encode())
            log.flush()
            self.process = await asyncio.create_subprocess_exec(
                str(self.binary),
                "node",
                "--config",
                str(self.config),
                "--name",
                self.name,
                "--data",
                str(self.data),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                process_group=0,
                preexec_fn=die_with_parent,
            )
        self.starts += 1
        self.is_paused = False
        watch = asyncio.create_task(self._watch(self.process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        if process.pid not in self._ends_wanted:
            self.on_end(self, status)

    async def kill(self) -> None:
        """SIGKILL, also to a paused process; returns when it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, after a while SIGKILL."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process = self.process
        if process is None or process.returncode is not None:
            return
        self._ends_wanted.add(process.pid)
        self._signal(how)
        if self.is_paused:
            self._signal(signal.SIGCONT)
            self.is_paused = False
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await process.wait()

    def pause(self) -> None:
        if self.is_running:
            self._signal(signal.SIGSTOP)
            self.is_paused = True

    def resume(self) -> None:
        if self.is_running and self.is_paused:
            self._signal(signal.SIGCONT)
        self.is_paused = False

    def _signal(self, how: signal.Signals) -> None:
        """Not by `send_signal`, which may take the exit status away from whoever waits for it."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, how)

    def log_tail(self, lines: int = 5) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16384))
            return log.read().decode("utf-8", "replace").splitlines()[-lines:]


class Cluster:
    """`links` gives the port on which `source` finds `target`; without it peers are dialled
    directly."""

    def __init__(
        self,
        directory: Path,
        binary: Path,
        count: int,
        http_port: int,
        peer_port: int,
        on_end: Callable[[Node, int], None],
        http_client: HTTPClient,
        settings: tuple[str, ...] = (),
        links: Callable[[str, str], int] | None = None,
        replication_factor: int = 3,
        partitions: int = 256,
    ) -> None:
        self.directory = directory
        self.http_client = http_client
        self._settings = settings
        self._links = links
        self._replication_factor = replication_factor
        self._partitions = partitions
        self.nodes: dict[str, Node] = {}
        for part in ("conf", "data", "logs"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"n{number}"
            self.nodes[name] = Node(
                name=name,
                http=f"127.0.0.1:{http_port + number - 1}",
                peer_port=peer_port + number - 1,
                config=directory / "conf" / f"{name}.conf",
                data=directory / "data" / name,
                log=directory / "logs" / f"{name}.log",
                binary=binary,
                on_end=on_end,
            )
        for node in self.nodes.values():
            self.write_configuration(node)

    @property
    def all(self) -> list[Node]:
        return [self.nodes[name] for name in sorted(self.nodes)]

    def write_configuration(self, own: Node) -> None:
        """The file of one node: the same as the others' but for the addresses of its peers."""
        lines = [
            "cluster_name: chaos",
            f"partitions: {self._partitions}",
            f"replication_factor: {self._replication_factor}",
            "window: 1m",
            "gossip_interval: 200ms",
            *self._settings,
            "nodes:",
        ]
        for node in self.all:
            is_own = node.name == own.name
            http = own.http if is_own else node.http
            port = own.peer_port if is_own else node.peer_port
            if self._links is not None and not is_own:
                port = self._links(own.name, node.name)
            lines.append(
                f"  {node.name}: {{http: {http}, peer: 127.0.0.1:{port}, dc: dc1, "
                f"rack: r{node.name[1:]}}}"
            )
        own.config.write_text("\n".join(lines) + "\n")

    async def check_ports(self, more: list[int]) -> None:
        """All ports must be free: a stranger behind one of them would make a strange run."""
        ports = [int(node.http.rsplit(":", 1)[1]) for node in self.all]
        ports += [node.peer_port for node in self.all] + more
        for port in ports:
            try:
                server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
            except OSError as error:
                raise NodeError(
                    f"port {port} cannot be used ({error.strerror}); stop what listens there, or "
                    "give other ports"
                ) from None
            server.close()
            await server.wait_closed()

    async def start(self) -> None:
        """Starts all nodes and waits until they serve; throws where that does not happen."""
        await asyncio.gather(*(node.start() for node in self.all))
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while late := await self.wait_until_ready(0):
            for node in self.all:
                if not node.is_running:
                    words = " | ".join(node.log_tail(3))
                    raise NodeError(f"{node.name} does not start: {words}; see {node.log}")
            if asyncio.get_running_loop().time() >= deadline:
                raise NodeError(f"not ready after {READY_SECONDS} s: {'; '.join(late)}")
            await asyncio.sleep(_POLL_SECONDS)

    async def is_ready(self, node: Node) -> bool:
        return await self.unreadiness(node) is None

    async def unreadiness(self, node: Node) -> str | None:
        """Why a node does not serve and vote; nil when it does."""
        if not node.is_running:
            return "it does not run"
        if node.is_paused:
            return "it is paused"
        try:
            answer = await self.http_client.get(node.http, "/readyz", timeout=2)
        except HTTPFailure as failure:
            return str(failure)
        return None if answer.status == 200 else answer.text()

    async def wait_until_ready(self, seconds: float, nodes: list[Node] | None = None) -> list[str]:
        """What is not ready when the time is over, in words; empty when all are."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            late = []
            for node in nodes or self.all:
                reason = await self.unreadiness(node)
                if reason is not None:
                    late.append(f"{node.name}: {reason}")
            if not late or asyncio.get_running_loop().time() >= deadline:
                return late
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.all))

    async def kill(self) -> None:
        await asyncio.gather(*(node.kill() for node in self.all))

    async def metric(self, node: Node, name: str) -> float:
        """The sum of a metric over its labels."""
        answer = await self.http_client.get(node.http, "/metrics")
        total = 0.0
        for line in answer.text().splitlines():
            if line.startswith(name) and line[len(name) : len(name) + 1] in (" ", "{"):
                total += float(line.rsplit(" ", 1)[1])
        return total


def replace_directory(old: Path, new: Path) -> None:
    """Makes `old` a copy of `new`."""
    shutil.rmtree(old)
    shutil.copytree(new, old)
