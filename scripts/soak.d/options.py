"""What a soak was asked for."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from arguments import count, port, positive


@dataclass(frozen=True)
class Options:
    seconds: float
    rate: int
    kill_every: float
    warm_up: float
    sample_every: float
    horizon: str
    memtable: str
    seed: int
    http_port: int
    peer_port: int
    binary: Path
    directory: Path
    output: Path


def read_options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Hours of load on three nodes of which two are killed by turns, watched for "
        "leaks and drift, and every count compared in the end.",
        epilog="Exit status: 0 every count is right and nothing grows that should not, 1 "
        "otherwise (data and logs are kept), 2 wrong usage. QUIPU_BIN names another binary.",
    )
    parser.add_argument("--hours", type=positive, default=1.0, help="how long (default 1)")
    parser.add_argument(
        "--rate", type=count, default=20_000, help="events a second of the stream (default 20000)"
    )
    parser.add_argument(
        "--kill-every",
        type=positive,
        default=60,
        metavar="SECONDS",
        help="between two kills, of n2 and n3 by turns (default 60); n1 is never killed",
    )
    parser.add_argument(
        "--warm-up",
        type=positive,
        metavar="SECONDS",
        help="before slopes are taken (default: half of the run, at most 30 minutes)",
    )
    parser.add_argument(
        "--sample-every",
        type=positive,
        default=5,
        metavar="SECONDS",
        help="between two samples (default 5)",
    )
    parser.add_argument(
        "--horizon",
        default="2m",
        help="the nodes' horizon (default 2m, so that history is forgotten all the time)",
    )
    parser.add_argument(
        "--memtable", default="16MiB", help="the nodes' memtable_size (default 16MiB)"
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the batches of the probers")
    parser.add_argument("--http-port", type=port, default=8601, help="first of three")
    parser.add_argument("--peer-port", type=port, default=7601, help="first of three")
    parser.add_argument("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where samples.tsv, picture.svg and result.json go (default: a new one in .build)",
    )
    values = parser.parse_args(arguments)
    seconds = values.hours * 3600
    directory = Path(tempfile.mkdtemp(prefix="soak.", dir=".build")).resolve()
    return Options(
        seconds=seconds,
        rate=values.rate,
        kill_every=values.kill_every,
        warm_up=values.warm_up or min(1800.0, seconds / 2),
        sample_every=values.sample_every,
        horizon=values.horizon,
        memtable=values.memtable,
        seed=values.seed,
        http_port=values.http_port,
        peer_port=values.peer_port,
        binary=values.binary.resolve(),
        directory=directory / "cluster",
        output=(values.out or directory).resolve(),
    )
