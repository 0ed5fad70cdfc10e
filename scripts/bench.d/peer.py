"""What all that are compared have in common."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from events import Input, Minutes

_STOP_SECONDS = 60


class PeerError(Exception):
    """It does not start, refuses, or says what cannot be."""


@dataclass(frozen=True)
class Outcome:
    """One turn: seconds from the first byte read to the last acknowledgement; and what is then
    found."""

    seconds: float
    total: int
    minutes: Minutes
    # The greatest resident memory of all its processes; nil where they share memory.
    memory_bytes: int | None


class Peer(Protocol):
    name: str
    # What an acknowledgement is worth, in words.
    promise: str

    def missing(self) -> str | None:
        """What has to be installed; nil where all is here."""

    def prepare(self, data: Input) -> None:
        """Before all turns, and not measured."""

    async def measure(self, data: Input, directory: Path) -> Outcome:
        """One turn in an empty directory; all that it started has ended when it returns."""


def differences(outcome: Outcome, data: Input) -> list[str]:
    """What is wrong with its counts, in words."""
    found = []
    if outcome.total != data.good:
        found.append(f"{outcome.total:,} events counted, {data.good:,} were sent that can be")
    for (kind, key), wanted in sorted(data.minutes.items()):
        minutes = outcome.minutes.get((kind, key), {})
        if minutes != wanted:
            wrong = sorted(m for m in wanted | minutes if wanted.get(m) != minutes.get(m))
            found.append(
                f"{kind} {key} at {wrong[0]}: {minutes.get(wrong[0], 0)}, must be "
                f"{wanted.get(wrong[0], 0)}"
            )
    return found


def memory_peak(process_id: int) -> int:
    """The greatest resident memory that a process had, in bytes."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise PeerError(f"process {process_id} has no memory: it ended")


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """Ends a process that was started here, by its id."""
    if process.poll() is not None:
        return
    os.kill(process.pid, how)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def expect_running(process: subprocess.Popen[bytes], name: str, log: Path, deadline: float) -> None:
    """Between two looks at whether it is ready: throws where it never will be."""
    if process.poll() is not None:
        words = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise PeerError(f"{name} does not start: {' | '.join(words)}; see {log}")
    if time.monotonic() > deadline:
        raise PeerError(f"{name} is not ready in time; see {log}")
