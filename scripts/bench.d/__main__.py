"""Parts of scripts/bench that are programs of their own: arguments, what is left behind, the exit
status."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import terminal
from attributes import Attributes
from cluster import NodeError
from flat import Flat
from flood import Flood
from http_client import HTTPFailure
from latency import Latency
from log_disk import LogDisk
from options import Options, read_options
from peer import PeerError
from peers import Comparison

_PROGRAMS = {
    "latency": Latency,
    "flood": Flood,
    "attributes": Attributes,
    "log": LogDisk,
    "flat": Flat,
}
_WRONG = 1
_MISSED = 3


async def run(options: Options) -> tuple[list[str], list[str], dict[str, Any]]:
    """What is wrong, which targets are missed, and all figures."""
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C and SIGTERM unwind like an error, so that all that was started is stopped.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    wrong: list[str] = []
    missed: list[str] = []
    figures: dict[str, Any] = {}
    for part in options.parts:
        directory = _directory(options, part)
        if part == "peers":
            comparison = Comparison(options, directory)
            await comparison.run()
            wrong += comparison.failures
            figures[part] = comparison.json()
            continue
        measured = _PROGRAMS[part](options, directory)
        await measured.run()
        wrong += measured.failures
        missed += measured.missed
        figures[part] = measured.figures
    return wrong, missed, figures


def _directory(options: Options, part: str) -> Path:
    directory = options.directory / part
    directory.mkdir()
    return directory


def main() -> int:
    options = read_options(sys.argv[1:])
    # Thousands of connections, here and in what is started.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        wrong, missed, figures = asyncio.run(run(options))
    except asyncio.CancelledError:
        terminal.fail(f"interrupted; kept for a look: {options.directory}")
        return 130
    except (NodeError, PeerError, HTTPFailure) as error:
        print(f"bench: {error}; kept for a look: {options.directory}", file=sys.stderr)
        return _WRONG
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.missed is not None:
        options.missed.write_text(f"{len(missed)}\n")
    if wrong:
        terminal.say(f"kept for a look: {options.directory}")
        return _WRONG
    shutil.rmtree(options.directory)
    return _MISSED if missed else 0


if __name__ == "__main__":
    sys.exit(main())
