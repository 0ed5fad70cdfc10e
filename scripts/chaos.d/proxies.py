"""The network between the nodes: one TCP proxy for each directed link.

A node speaks to a peer on the connection that it dialled itself, so that a fault of the link
n1→n2 takes n1's messages to n2 and leaves n2's messages to n1 alone.
"""

from __future__ import annotations

import asyncio
import enum
import random
import socket
import struct

_CHUNK = 64 << 10
_CHUNKS_UNDER_WAY = 32


class Flow(enum.Enum):
    OPEN = "open"
    # Connections are reset, new ones refused: a firewall that rejects, or a cable that is out.
    CUT = "cut"
    # Connections are taken and nothing moves, until the link is healed: then all of it arrives
    # late.
    STALLED = "stalled"


class Link:
    """The proxy of one directed link."""

    def __init__(self, name: str, port: int, target_port: int, seed: int) -> None:
        self.name = name
        self.port = port
        self._target_port = target_port
        self._random = random.Random(seed)
        self._flow = Flow.OPEN
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._rate: float | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.bytes_carried = 0

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.reset()

    async def set_flow(self, flow: Flow) -> None:
        self._flow = flow
        if flow is Flow.STALLED:
            self._flowing.clear()
        else:
            self._flowing.set()
        if flow is Flow.CUT:
            await self.close()
        else:
            await self.open()

    def set_speed(self, delay: float = 0.0, rate: float | None = None) -> None:
        """`delay` seconds (half to one and a half of it) for each piece, `rate` bytes a second."""
        self._delay = delay
        self._rate = rate

    async def heal(self) -> None:
        self.set_speed()
        await self.set_flow(Flow.OPEN)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run(self._target_port)
        finally:
            self._connections.discard(connection)

    # What a connection asks of its link.

    async def wait_until_flowing(self) -> None:
        await self._flowing.wait()

    def arrival(self) -> float:
        delay = self._delay * self._random.uniform(0.5, 1.5) if self._delay else 0.0
        return asyncio.get_running_loop().time() + delay

    async def spend(self, count: int) -> None:
        self.bytes_carried += count
        if self._rate:
            await asyncio.sleep(count / self._rate)


class _Connection:
    """One dialled connection: from the dialling node to the proxy, and on to the other node."""

    def __init__(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._reader = reader
        self._writer = writer
        self._onward: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = asyncio.current_task()

    def reset(self) -> None:
        for writer in (self._writer, self._onward):
            if writer is not None:
                _reset(writer)
        if self._task is not None:
            self._task.cancel()

    async def run(self, target_port: int) -> None:
        pumps: list[asyncio.Task[None]] = []
        try:
            await self._link.wait_until_flowing()
            reader, self._onward = await asyncio.open_connection("127.0.0.1", target_port)
            pumps = [
                asyncio.create_task(self._pump(self._reader, self._onward)),
                asyncio.create_task(self._pump(reader, self._writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            # Nobody listens there, or the link was cut: the dialling side hears a reset, as it
            # would without a proxy.
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in (self._writer, self._onward):
                if writer is not None:
                    _reset(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Moves bytes of one direction until its end, which passes through the link like bytes:
        a stalled link hides it."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)
        filling = asyncio.create_task(self._fill(reader, under_way))
        try:
            while True:
                arrival, data = await under_way.get()
                wait = arrival - asyncio.get_running_loop().time()
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._link.spend(len(data))
                await self._link.wait_until_flowing()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            await self._link.wait_until_flowing()
        finally:
            filling.cancel()

    async def _fill(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        while True:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            await under_way.put((self._link.arrival(), data))
            if not data:
                return


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Network:
    """All links of a cluster, by (source, target)."""

    def __init__(self, peer_ports: dict[str, int], first_port: int, seed: int) -> None:
        self.links: dict[tuple[str, str], Link] = {}
        names = sorted(peer_ports)
        for i, source in enumerate(names):
            for j, target in enumerate(names):
                if source == target:
                    continue
                number = i * len(names) + j
                self.links[source, target] = Link(
                    f"{source}→{target}",
                    first_port + number,
                    peer_ports[target],
                    seed * 1000 + number,
                )

    async def open(self) -> None:
        for link in self.links.values():
            await link.open()

    async def close(self) -> None:
        for link in self.links.values():
            await link.close()

    async def heal(self) -> None:
        for link in self.links.values():
            await link.heal()

    def bytes_carried(self) -> int:
        return sum(link.bytes_carried for link in self.links.values())
