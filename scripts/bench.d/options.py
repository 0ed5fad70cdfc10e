"""What a run was asked for."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from arguments import count, port

PARTS = ("peers", "latency", "flood", "attributes", "log", "flat")
# Of parts that --long makes longer: as it is, and with it.
_LOG_SECONDS = 60, 600
_STEPS = 6, 20


@dataclass(frozen=True)
class Options:
    parts: tuple[str, ...]
    events: int
    turns: int
    batches: int
    seconds: float
    keys: int
    log_seconds: float
    steps: int
    http_port: int
    peer_port: int
    other_port: int
    binary: Path
    cache: Path
    directory: Path
    json: Path | None
    # Where the number of missed targets goes.
    missed: Path | None


def read_options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/bench --only PART",
        description="Parts of scripts/bench: peers (Quipu beside Redis, PostgreSQL and chdb), "
        "latency (of a batch of 1,000 events at QUORUM), flood (three times what the cluster can "
        "take), attributes (of a million keys), log (what it takes of the disk at a million events "
        "a second), flat (whether an event costs the same when there are many).",
        epilog="Exit status: 0 counts are right and targets met, 1 a count is wrong, 2 wrong "
        "usage, 3 counts are right and a target is missed.",
    )
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument(
        "--events",
        type=count,
        default=5_000_000,
        help="peers: events; log: of the file that is sent again and again; flat: of one step "
        "(default 5000000)",
    )
    parser.add_argument("--turns", type=count, default=3, help="peers: turns (default 3)")
    parser.add_argument(
        "--batches", type=count, default=3000, help="latency: batches (default 3000)"
    )
    parser.add_argument(
        "--seconds", type=count, default=60, help="flood: how long it lasts (default 60)"
    )
    parser.add_argument(
        "--keys", type=count, default=1_000_000, help="attributes: keys (default 1000000)"
    )
    parser.add_argument(
        "--log-seconds",
        type=count,
        help="log: how long events come (default {}, with --long {})".format(*_LOG_SECONDS),
    )
    parser.add_argument(
        "--steps",
        type=count,
        help="flat: how often --events are sent (default {}, with --long {})".format(*_STEPS),
    )
    parser.add_argument("--long", action="store_true", help="log and flat: as the targets say")
    parser.add_argument("--http-port", type=port, default=8701, help="first of three")
    parser.add_argument("--peer-port", type=port, default=7701, help="first of three")
    parser.add_argument("--other-port", type=port, default=8710, help="of Redis and PostgreSQL")
    parser.add_argument("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".build/bench-peers"),
        help="where peers are that no package manager installs: chdb/ is an environment of Python "
        "(default .build/bench-peers)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures there")
    parser.add_argument("--missed", type=Path, help=argparse.SUPPRESS)
    values = parser.parse_args(arguments)
    return Options(
        parts=tuple(dict.fromkeys(values.parts)),
        events=values.events,
        turns=values.turns,
        batches=values.batches,
        seconds=values.seconds,
        keys=values.keys,
        log_seconds=values.log_seconds or _LOG_SECONDS[values.long],
        steps=values.steps or _STEPS[values.long],
        http_port=values.http_port,
        peer_port=values.peer_port,
        other_port=values.other_port,
        binary=values.binary.resolve(),
        # Not resolved: the python in an environment is a link that must be called by its own name.
        cache=values.cache.absolute(),
        directory=Path(tempfile.mkdtemp(prefix="bench.", dir=".build")).resolve(),
        json=values.json,
        missed=values.missed,
    )
