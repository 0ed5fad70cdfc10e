"""HTTP/1.1 over asyncio, as much of it as a node's answers need: content length, chunks and
connections that are kept. A failure tells whether the request can have reached the node."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Mapping
from urllib.parse import quote

_HEADER_MAX = 64 << 10
_IDLE_MAX = 32


class HTTPFailure(Exception):
    """No answer. `was_sent` is false where the node certainly saw nothing of the request."""

    def __init__(self, reason: str, was_sent: bool) -> None:
        super().__init__(reason)
        self.was_sent = was_sent


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    # By their names in lower case.
    headers: Mapping[str, str]

    def json(self) -> Any:
        return json.loads(self.body)

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def component(text: str) -> str:
    """A text as one component of a path."""
    return quote(text, safe="")


class HTTPClient:
    def __init__(self) -> None:
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = (
            defaultdict(list)
        )

    async def get(self, address: str, target: str, timeout: float = 10) -> Answer:
        return await self.request(address, "GET", target, timeout=timeout)

    async def request(
        self,
        address: str,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10,
    ) -> Answer:
        was_sent = False
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._connection(address)
                lines = [f"{method} {target} HTTP/1.1", f"Host: {address}"]
                lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
                lines += [f"Content-Length: {len(body)}", "", ""]
                was_sent = True
                writer.write("\r\n".join(lines).encode() + body)
                await writer.drain()
                answer, is_kept = await _read_answer(reader)
        except TimeoutError:
            _abort(writer)
            raise HTTPFailure(f"no answer in {timeout:g} s", was_sent) from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as e:
            _abort(writer)
            raise HTTPFailure(f"{type(e).__name__}: {e}", was_sent) from None
        except BaseException:
            _abort(writer)
            raise
        if is_kept and len(self._idle[address]) < _IDLE_MAX:
            self._idle[address].append((reader, writer))
        else:
            writer.close()
        return answer

    async def _connection(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        idle = self._idle[address]
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        host, port = address.rsplit(":", 1)
        return await asyncio.open_connection(host, int(port), limit=_HEADER_MAX)

    def close(self) -> None:
        for connections in self._idle.values():
            for _, writer in connections:
                _abort(writer)
        self._idle.clear()


def _abort(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    fields = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if status == 100:
        return await _read_answer(reader)
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Answer(status, body, fields), fields.get("connection", "").lower() != "close"


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        piece = await reader.readexactly(size + 2)
        if size == 0:
            return b"".join(pieces)
        pieces.append(piece[:-2])
