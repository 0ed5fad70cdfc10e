"""Redis: a hash for each key, a field for each minute, HINCRBY for each event."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from cluster import die_with_parent
from events import Input, Minutes, batches, parse
from peer import Outcome, PeerError, expect_running, memory_peak, stop

_READY_SECONDS = 20
_TOTAL = (
    "local sum = 0 for _, key in ipairs(redis.call('KEYS', '*')) do "
    "for _, count in ipairs(redis.call('HVALS', key)) do sum = sum + count end end return sum"
)


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def _commands(lines: list[bytes]) -> tuple[bytes, int]:
    """HINCRBY for each good line, and how many these are."""
    pieces = []
    for line in lines:
        event = parse(line)
        if event is not None:
            key = f"{event[0]}:{event[1]}".encode()
            pieces.append(_command(b"HINCRBY", key, event[2].encode(), b"1"))
    return b"".join(pieces), len(pieces)


class _Connection:
    """As much of the protocol as this needs: integers, bulk strings and arrays of these."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, commands: bytes) -> None:
        self._socket.sendall(commands)

    def expect_integers(self, count: int) -> None:
        for _ in range(count):
            line = self._file.readline()
            if not line.startswith(b":"):
                raise PeerError(f"Redis answers {line!r} to HINCRBY")

    def ask(self, *words: bytes) -> int | list[bytes]:
        self.send(_command(*words))
        line = self._file.readline()
        if line.startswith(b":"):
            return int(line[1:])
        if line.startswith(b"*"):
            return [self._bulk() for _ in range(int(line[1:]))]
        raise PeerError(f"Redis answers {line!r}")

    def _bulk(self) -> bytes:
        line = self._file.readline()
        if not line.startswith(b"$"):
            raise PeerError(f"Redis answers {line!r} where a string must be")
        return self._file.read(int(line[1:]) + 2)[:-2]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Redis:
    promise = "fsynced each second, a crash loses the last; what is sent again is counted twice"

    def __init__(self, port: int, is_prepared: bool, commands: Path) -> None:
        self._port = port
        self._is_prepared = is_prepared
        self._file = commands
        by = "prepared, redis-cli --pipe" if is_prepared else "pipelined by Python"
        self.name = f"Redis HINCRBY, {by}"

    def missing(self) -> str | None:
        return None if shutil.which("redis-server") else "apt-get install redis-server"

    def prepare(self, data: Input) -> None:
        if self._is_prepared:
            with self._file.open("wb") as file:
                for lines in batches(data.file):
                    file.write(_commands(lines)[0])

    async def measure(self, data: Input, directory: Path) -> Outcome:
        log = directory / "log"
        server = self._start(directory, log)
        try:
            connection = self._connect(server, log)
            began = time.monotonic()
            if self._is_prepared:
                self._pipe(data)
            else:
                _pipeline(connection, data)
            seconds = time.monotonic() - began
            memory = memory_peak(server.pid)
            total = connection.ask(b"EVAL", _TOTAL.encode(), b"0")
            minutes = _minutes(connection, data)
            connection.close()
        finally:
            stop(server)
        if not isinstance(total, int):
            raise PeerError(f"Redis answers {total!r} to EVAL")
        return Outcome(seconds, total, minutes, memory)

    def _start(self, directory: Path, log: Path) -> subprocess.Popen[bytes]:
        options = {
            "--port": self._port,
            "--bind": "127.0.0.1",
            "--dir": directory,
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
        }
        words = [str(word) for option in options.items() for word in option]
        with log.open("wb") as file:
            return subprocess.Popen(
                ["redis-server", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _connect(self, server: subprocess.Popen[bytes], log: Path) -> _Connection:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return _Connection(self._port)
            except ConnectionRefusedError:
                expect_running(server, "Redis", log, deadline)
                time.sleep(0.05)

    def _pipe(self, data: Input) -> None:
        with self._file.open("rb") as commands:
            done = subprocess.run(
                ["redis-cli", "-p", str(self._port), "--pipe"],
                stdin=commands,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        words = done.stdout.decode("utf-8", "replace")
        if f"errors: 0, replies: {data.good}" not in words:
            raise PeerError(f"redis-cli --pipe says: {words.strip()[-300:]}")


def _pipeline(connection: _Connection, data: Input) -> None:
    """One batch is made while the server works on the one before."""
    waiting = 0
    for lines in batches(data.file):
        commands, count = _commands(lines)
        connection.send(commands)
        connection.expect_integers(waiting)
        waiting = count
    connection.expect_integers(waiting)


def _minutes(connection: _Connection, data: Input) -> Minutes:
    minutes: Minutes = {}
    for kind, key in data.minutes:
        answer = connection.ask(b"HGETALL", f"{kind}:{key}".encode())
        if not isinstance(answer, list):
            raise PeerError(f"Redis answers {answer!r} to HGETALL")
        pairs = zip(answer[::2], answer[1::2])
        minutes[kind, key] = {minute.decode(): int(count) for minute, count in pairs}
    return minutes
