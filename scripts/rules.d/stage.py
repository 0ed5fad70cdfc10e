"""Three nodes with a file each, on one clock that can be set forward."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

NODES = ("n1", "n2", "n3")


class Clock:
    """The wall clock of all processes of the run, this one among them."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "clock"
        self.ahead = 0
        self.file.write_bytes(struct.pack("<q", 0))

    def now(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000 + self.ahead

    def forward_to(self, milliseconds: int) -> None:
        self.ahead += milliseconds - self.now()
        # In place: the processes have mapped these bytes.
        with self.file.open("r+b") as file:
            file.write(struct.pack("<q", self.ahead))


def text(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds // 1000))


class Stage:
    def __init__(
        self, directory: Path, binary: str, port: int, library: Path, *settings: str
    ) -> None:
        """`settings`: further lines of cluster.conf."""
        self.directory, self.binary, self.port = directory, binary, port
        self.settings = settings
        self.clock = Clock(directory)
        self.environment = dict(
            os.environ, LD_PRELOAD=str(library), QUIPU_TEST_CLOCK=str(self.clock.file)
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def http(self, node: str) -> str:
        return f"http://127.0.0.1:{self.port + NODES.index(node)}"

    def configure(self, node: str, *rules: str) -> None:
        """Writes the node's own copy of cluster.conf."""
        lines = [
            "cluster_name: rules", "partitions: 16", "replication_factor: 3",
            "gossip_interval: 200ms", f"data_directory: {self.directory}/data", *self.settings,
        ]
        if rules:
            lines += ["rules:", *(f"  - {entry}" for entry in rules)]
        lines.append("nodes:")
        for index, name in enumerate(NODES):
            http, peer = self.port + index, self.port + 3 + index
            lines.append(f"  {name}: {{http: 127.0.0.1:{http}, peer: 127.0.0.1:{peer}}}")
        (self.directory / f"{node}.conf").write_text("\n".join(lines) + "\n")

    def start(self, node: str) -> None:
        with (self.directory / f"{node}.log").open("ab") as log:
            self.processes[node] = subprocess.Popen(
                [self.binary, "node", "--config", str(self.directory / f"{node}.conf"),
                 "--name", node],
                stdout=log, stderr=log, env=self.environment,
            )

    def stop(self, node: str) -> None:
        process = self.processes.pop(node)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        for node in list(self.processes):
            self.stop(node)

    def get(self, node: str, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the body; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.http(node) + path, timeout=5) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError as error:
            return 0, {"reasons": [str(error)]}

    def reasons(self, node: str) -> list[str]:
        status, body = self.get(node, "/readyz")
        return [] if status == 200 else body.get("reasons", ["no reason"])

    def wait(self, node: str, is_met: Any, seconds: float = 20) -> bool:
        """Whether the node's reasons not to be ready come to be so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if is_met(self.reasons(node)):
                return True
            time.sleep(0.1)
        return False

    def wait_ready(self, node: str) -> bool:
        return self.wait(node, lambda reasons: not reasons)
