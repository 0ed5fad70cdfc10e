"""Hostile clients, one act in one process: `hostile_acts.py ACT TOLD`, where TOLD is JSON. It goes
on for the seconds it was told, does not mind what the node does to it, and prints what it did."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Callable, Iterator

_SLOW = 2000
_IDLE = 10_000
_CRUMBS = 10_000
_CROWD = 15_500
_DECLARED = 200
_SLOW_BODIES = 1100
_DECLARATION = (
    b"POST /v1/events HTTP/1.1\r\nHost: quipu\r\nContent-Type: application/x-ndjson\r\n"
    b"Content-Length: 16777216\r\n\r\n"
)
_PEER_IDLE = 2000
_BOMB_BYTES = 65 << 20
_KEYS_PER_BATCH = 10_000
_BATCHES_PER_SECOND = 10
_SENDERS = 8
_GARBAGE_PER_SECOND = 100
_THROWERS = 25
_ANSWER_SECONDS = 10.0


@dataclass
class Told:
    http: tuple[str, int]
    peer: tuple[str, int]
    seconds: float
    did: Counter[str] = field(default_factory=Counter)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.ends_at = time.monotonic() + self.seconds

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_at

    def count(self, name: str, number: int = 1) -> None:
        with self._guard:
            self.did[name] += number


# ---- connections that are held


class Held:
    """Many connections to one address, opened again where the node ends them."""

    def __init__(self, told: Told, address: tuple[str, int], number: int, first: bytes) -> None:
        self._told = told
        self._address = address
        self._first = first
        self._sockets: dict[int, socket.socket | None] = dict.fromkeys(range(number))
        self._greeted: set[int] = set()

    def tend(self, piece: bytes) -> None:
        """Opens what is not open, and sends a piece on what is."""
        for number, held in self._sockets.items():
            if held is None:
                self._open(number)
            else:
                self._feed(number, held, piece)

    def _open(self, number: int) -> None:
        made = socket.socket()
        made.setblocking(False)
        made.connect_ex(self._address)
        self._sockets[number] = made
        self._told.count("connections begun")

    def _feed(self, number: int, held: socket.socket, piece: bytes) -> None:
        try:
            if number not in self._greeted:
                if self._first:
                    held.send(self._first)
                self._greeted.add(number)
            elif piece:
                held.send(piece)
            if held.recv(4096):
                self._told.count("answers")
            else:
                self._close(number, held)
        except BlockingIOError:
            pass
        except OSError:
            self._close(number, held)

    def _close(self, number: int, held: socket.socket) -> None:
        held.close()
        self._sockets[number] = None
        self._greeted.discard(number)
        self._told.count("ended by the node")

    def count_open(self) -> None:
        for held in self._sockets.values():
            if held is None:
                continue
            try:
                held.getpeername()
                self._told.count("open in the end")
            except OSError:
                pass
            held.close()


def _hold(told: Told, address: tuple[str, int], number: int, first: bytes, piece: bytes) -> None:
    held = Held(told, address, number, first)
    while told.goes_on:
        began = time.monotonic()
        held.tend(piece)
        time.sleep(max(0.0, min(1.0, told.ends_at - began) - (time.monotonic() - began)))
    held.count_open()


def slowloris(told: Told) -> None:
    _hold(told, told.http, _SLOW, b"POST /v1/events HTTP/1.1\r\nHost: quipu\r\nX-Slow: ", b"a")


def idle(told: Told) -> None:
    _hold(told, told.http, _IDLE, b"", b"")


def crumbs(told: Told) -> None:
    _hold(told, told.http, _CRUMBS, b"G", b"")


def crowd(told: Told) -> None:
    """More than a node holds open."""
    _hold(told, told.http, _CROWD, b"", b"")


def declared(told: Told) -> None:
    _hold(told, told.http, _DECLARED, _DECLARATION, b"")


def slow_bodies(told: Told) -> None:
    _hold(told, told.http, _SLOW_BODIES, _DECLARATION, b"a")


def peer_idle(told: Told) -> None:
    _hold(told, told.peer, _PEER_IDLE, b"", b"")


# ---- batches that are dear


def _post(told: Told, body: bytes, encoding: str) -> None:
    created = int(time.time() * 1000)
    head = (
        "POST /v1/events?consistency=QUORUM HTTP/1.1\r\nHost: quipu\r\nConnection: close\r\n"
        f"Content-Type: application/x-ndjson\r\n{encoding}Content-Length: {len(body)}\r\n"
        f"Quipu-Producer: {uuid.uuid4()}\r\nQuipu-Sequence: 0\r\nQuipu-Created: {created}\r\n\r\n"
    )
    try:
        with socket.create_connection(told.http, _ANSWER_SECONDS) as connection:
            connection.sendall(head.encode() + body)
            words = connection.recv(4096).split(b" ", 2)
            told.count(f"answered {words[1].decode()}" if len(words) > 1 else "no answer")
    except OSError:
        told.count("no answer")


def _pour(told: Told, per_second: float, bodies: Iterator[tuple[bytes, str]]) -> None:
    """Batches at a pace from several threads; what does not keep up falls behind."""
    guard = threading.Lock()
    due = time.monotonic()

    def work() -> None:
        nonlocal due
        while told.goes_on:
            with guard:
                due = max(due + 1 / per_second, time.monotonic() - 1)
                at, (body, encoding) = due, next(bodies)
            time.sleep(max(0.0, at - time.monotonic()))
            _post(told, body, encoding)

    threads = [threading.Thread(target=work) for _ in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bombs(told: Told) -> None:
    """By turns 65 MiB of zeros and as much of one event, in some 65 kB and 200 kB."""
    event = b'{"type":"bomb","key":"k","time":"2026-01-01T00:00:00Z"}\n'
    zeros = gzip.compress(bytes(_BOMB_BYTES))
    events = gzip.compress(event * ((60 << 20) // len(event)))

    def bodies() -> Iterator[tuple[bytes, str]]:
        while True:
            yield zeros, "Content-Encoding: gzip\r\n"
            yield events, "Content-Encoding: gzip\r\n"

    _pour(told, 4, bodies())


def new_keys(told: Told) -> None:
    """100,000 keys a second that nobody has seen."""
    run = uuid.uuid4().hex[:8]

    def bodies() -> Iterator[tuple[bytes, str]]:
        number = 0
        while True:
            lines = (
                f'{{"type":"explosion","key":"{run}-{key}","time":"2026-01-01T00:00:00Z"}}\n'
                for key in range(number, number + _KEYS_PER_BATCH)
            )
            number += _KEYS_PER_BATCH
            yield "".join(lines).encode(), ""

    _pour(told, _BATCHES_PER_SECOND, bodies())


# ---- bytes that mean nothing


def _throw(told: Told, address: tuple[str, int], make: Callable[[random.Random], bytes]) -> None:
    def work(number: int) -> None:
        draw = random.Random(f"garbage/{number}")
        began, turn = time.monotonic(), 0
        while told.goes_on:
            turn += 1
            time.sleep(max(0.0, began + turn * _THROWERS / _GARBAGE_PER_SECOND - time.monotonic()))
            _throw_once(told, address, make(draw))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_THROWERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _throw_once(told: Told, address: tuple[str, int], garbage: bytes) -> None:
    try:
        with socket.create_connection(address, 1) as connection:
            connection.settimeout(0.2)
            connection.sendall(garbage)
            told.count("answered" if connection.recv(4096) else "ended by the node")
    except TimeoutError:
        told.count("neither answered nor ended in 0.2 s")
    except OSError:
        told.count("reset")


_BROKEN_REQUESTS = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
    b"POST /v1/events HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET /v1/counts/%ff/%00?from=%zz HTTP/1.1\r\nHost: quipu\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


def garbage_http(told: Told) -> None:
    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return draw.randbytes(draw.randrange(1, 65_536))
        return draw.choice(_BROKEN_REQUESTS)

    _throw(told, told.http, make)


def garbage_peer(told: Told) -> None:
    def make(draw: random.Random) -> bytes:
        kind = draw.random()
        if kind < 0.3:
            # A length beyond all bounds, in either order of bytes.
            return struct.pack(draw.choice("<>") + "I", draw.choice((2**32 - 1, 2**31, 96 << 20)))
        if kind < 0.4:
            return draw.choice(_BROKEN_REQUESTS)
        return draw.randbytes(draw.randrange(1, 65_536))

    _throw(told, told.peer, make)


ACTS: dict[str, tuple[str, Callable[[Told], None]]] = {
    "slowloris": ("2,000 connections, a byte of a header each second", slowloris),
    "idle": ("10,000 connections that say nothing", idle),
    "crumbs": ("10,000 connections that say one byte", crumbs),
    "crowd": ("15,500 connections that say nothing", crowd),
    "declared": ("200 requests that declare 16 MiB and send nothing", declared),
    "slow-bodies": ("1,100 requests whose body comes at a byte a second", slow_bodies),
    "bombs": ("gzip of 60 and 65 MiB in 65 to 200 kB, 4 a second", bombs),
    "new-keys": ("100,000 new keys a second", new_keys),
    "garbage-http": ("100 broken requests a second", garbage_http),
    "garbage-peer": ("100 connections with garbage a second to the peer port", garbage_peer),
    "peer-idle": ("2,000 connections to the peer port that say nothing", peer_idle),
}


def main() -> None:
    # Elsewhere such clients would not take this machine's time.
    os.nice(10)
    words = json.loads(sys.argv[2])
    told = Told(tuple(words["http"]), tuple(words["peer"]), words["seconds"])
    ACTS[sys.argv[1]][1](told)
    print(json.dumps(told.did), flush=True)


if __name__ == "__main__":
    main()
