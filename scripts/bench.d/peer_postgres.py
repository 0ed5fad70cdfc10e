"""PostgreSQL: each 10,000 events are one transaction, copied into a temporary table, grouped and
added to a table of counts. The transaction also takes the batch's number into a table of batches:
sent again it fails as a whole, which is what exactly once needs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator

from cluster import die_with_parent
from events import Input, Minutes, batches, parse
from peer import Outcome, PeerError, expect_running, stop

_READY_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "fsync": "on",
    "synchronous_commit": "on",
}
_SCHEMA = """
CREATE TABLE counts (type text, key text, minute timestamptz, n bigint NOT NULL,
    PRIMARY KEY (type, key, minute));
CREATE TABLE batches (id bigint PRIMARY KEY);
"""
_STAGING = """
CREATE TEMP TABLE staging (type text, key text, minute timestamptz) ON COMMIT DELETE ROWS;
"""
_UPSERT = """
INSERT INTO batches VALUES ({batch});
INSERT INTO counts SELECT type, key, minute, count(*) FROM staging GROUP BY 1, 2, 3
    ON CONFLICT (type, key, minute) DO UPDATE SET n = counts.n + excluded.n;
COMMIT;
"""


def _programs() -> Path | None:
    """Where the newest version's programs are; Debian keeps them out of PATH."""
    versions = Path("/usr/lib/postgresql")
    found = sorted(versions.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _unprivileged() -> str | None:
    """The user that runs the server: PostgreSQL refuses root. Nil: whoever runs this."""
    return "postgres" if os.geteuid() == 0 else None


class Postgres:
    promise = "fsynced on its disk; exactly once by a table of batch numbers in each transaction"

    def __init__(self, port: int, is_prepared: bool, statements: Path) -> None:
        self._port = port
        self._is_prepared = is_prepared
        self._file = statements
        by = "prepared rows" if is_prepared else "rows by Python"
        self.name = f"PostgreSQL COPY and upsert, {by}"

    def missing(self) -> str | None:
        if _programs() is None or shutil.which("psql") is None:
            return "apt-get install postgresql"
        user = _unprivileged()
        if user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}:
            return "a user named postgres, since this is root; apt-get install postgresql"
        return None

    def prepare(self, data: Input) -> None:
        if self._is_prepared:
            with self._file.open("wb") as file:
                file.writelines(_statements(data))

    async def measure(self, data: Input, directory: Path) -> Outcome:
        # Its user may not be let into the directory of whoever runs this.
        home = Path(tempfile.mkdtemp(prefix="quipu-bench-", dir="/var/tmp"))
        user = _unprivileged()
        if user is not None:
            shutil.chown(home, user)
        try:
            return self._measure(data, home, directory / "log", user)
        finally:
            shutil.rmtree(home)

    def _measure(self, data: Input, home: Path, log: Path, user: str | None) -> Outcome:
        programs = _programs()
        if programs is None:
            raise PeerError("PostgreSQL is gone")
        options = ["-U", "bench", "-A", "trust", "-E", "UTF8", "--locale", "C"]
        cluster = home / "data"
        subprocess.run(
            [str(programs / "initdb"), "-D", str(cluster), *options],
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=home,
            check=True,
        )
        server = self._start(programs, cluster, home, log, user)
        try:
            self._wait(server, home, log)
            self._run(home, ["-c", _SCHEMA])
            began = time.monotonic()
            if self._is_prepared:
                self._run(home, ["-f", str(self._file)])
            else:
                self._feed(home, data)
            seconds = time.monotonic() - began
            total = int(self._run(home, ["-Atc", "SELECT sum(n) FROM counts"]))
            return Outcome(seconds, total, self._minutes(home, data), None)
        finally:
            # SIGINT is its fast shutdown.
            stop(server, signal.SIGINT)

    def _start(
        self, programs: Path, cluster: Path, home: Path, log: Path, user: str | None
    ) -> subprocess.Popen[bytes]:
        settings = _SETTINGS | {"port": str(self._port), "unix_socket_directories": str(home)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as file:
            return subprocess.Popen(
                [str(programs / "postgres"), "-D", str(cluster), *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                user=user,
                cwd=home,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _psql(self, home: Path) -> list[str]:
        words = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(home)]
        return [*words, "-p", str(self._port), "-U", "bench", "-d", "postgres"]

    def _run(self, home: Path, options: list[str]) -> str:
        words = [*self._psql(home), *options]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"psql: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
        return done.stdout.decode()

    def _wait(self, server: subprocess.Popen[bytes], home: Path, log: Path) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self._run(home, ["-c", "SELECT 1"])
                return
            except PeerError:
                expect_running(server, "PostgreSQL", log, deadline)
                time.sleep(0.1)

    def _feed(self, home: Path, data: Input) -> None:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(self._psql(home), stdin=subprocess.PIPE, stderr=errors)
            assert process.stdin is not None
            try:
                for statements in _statements(data):
                    process.stdin.write(statements)
                process.stdin.close()
            except BrokenPipeError:
                # Its last words say why, below.
                pass
            finally:
                status = process.wait()
            errors.seek(0)
            if status != 0:
                raise PeerError(f"psql: {errors.read().decode('utf-8', 'replace').strip()[-300:]}")

    def _minutes(self, home: Path, data: Input) -> Minutes:
        wanted = ",".join(f"('{kind}','{key}')" for kind, key in sorted(data.minutes))
        minute = """to_char(minute at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI')"""
        query = f"SELECT type, key, {minute}, n FROM counts WHERE (type, key) IN ({wanted})"
        minutes: Minutes = {series: {} for series in data.minutes}
        for line in self._run(home, ["-Atc", query]).splitlines():
            kind, key, start, number = line.split("|")
            minutes[kind, key][start] = int(number)
        return minutes


def _statements(data: Input) -> Iterator[bytes]:
    """What psql is told, a batch at a time."""
    yield _STAGING.encode()
    for number, lines in enumerate(batches(data.file)):
        rows = [event for event in map(parse, lines) if event is not None]
        text = "".join(f"{kind}\t{key}\t{minute}Z\n" for kind, key, minute in rows)
        yield f"BEGIN;\nCOPY staging FROM STDIN;\n{text}\\.\n".encode()
        yield _UPSERT.format(batch=number).encode()
