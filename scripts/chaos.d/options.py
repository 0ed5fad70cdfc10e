"""What a run was asked for."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from arguments import port, positive


@dataclass(frozen=True)
class Options:
    mode: str
    seed: int
    seconds: float
    interval: float
    kills_min: int
    load: float
    faults: frozenset[str]
    placement: str
    away: float
    rate: int
    each: float
    acts: tuple[str, ...]
    http_port: int
    peer_port: int
    proxy_port: int
    binary: Path
    directory: Path
    json: Path | None
    keep: bool

    @property
    def replay(self) -> str:
        """The command that does the same again."""
        words = ["scripts/chaos", f"--seed {self.seed}", f"--seconds {self.seconds:g}"]
        words.append(f"--interval {self.interval:g}")
        if self.kills_min:
            words.append(f"--kills-min {self.kills_min}")
        if self.placement != "key":
            words.append(f"--placement {self.placement}")
        words.append(f"--faults {','.join(sorted(self.faults))}")
        return " ".join(words)


def _mode(values: argparse.Namespace) -> str:
    if values.hostile is not None:
        return "hostile"
    return "availability" if values.availability else "absence" if values.absence else "chaos"


def read_options(
    arguments: list[str], defaults: list[str], known: list[str], hostile: list[str]
) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Real processes under faults, every answer checked against a ledger. Without "
        "a mode: five nodes, a proxy for each directed link, 8 producers, 4 readers and a nemesis.",
        epilog="Exit status: 0 all claims hold, 1 one does not (the directory is kept), 2 wrong "
        "usage. QUIPU_BIN names another binary.",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--availability",
        action="store_true",
        help="three nodes, one killed under steady load: no operation fails, and how slow it gets",
    )
    mode.add_argument(
        "--absence",
        action="store_true",
        help="three nodes, one away under steady load: how soon it has caught up",
    )
    mode.add_argument(
        "--hostile",
        nargs="?",
        const="all",
        metavar="ACTS",
        help="three nodes, hostile clients of one of them beside a good one: how the good one "
        f"fares. All acts, or some, with commas: {', '.join(hostile)}",
    )
    parser.add_argument(
        "--each",
        type=positive,
        default=20,
        help="--hostile: seconds that each act goes on (default 20)",
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses acts, times and victims")
    parser.add_argument(
        "--seconds", type=positive, default=180, help="how long faults happen (default 180)"
    )
    parser.add_argument(
        "--interval",
        type=positive,
        default=1.5,
        help="seconds between two acts, on average (default 1.5)",
    )
    parser.add_argument(
        "--kills-min",
        type=int,
        default=0,
        metavar="N",
        help="goes on for up to twice as long until N processes were killed; fewer are a failure",
    )
    parser.add_argument(
        "--load",
        type=positive,
        default=1.0,
        help="how fast producers and readers are; 1 is about 40 batches and 40 reads a second",
    )
    parser.add_argument(
        "--faults",
        default=",".join(defaults),
        metavar="LIST",
        help=f"acts, with commas (default %(default)s), or all, or none; known: {', '.join(known)}",
    )
    parser.add_argument(
        "--placement",
        choices=("key", "key+day"),
        default="key",
        help="where cells lie; by key and day, 16 partitions are asked for each count",
    )
    parser.add_argument(
        "--away",
        type=positive,
        default=60,
        help="--absence: seconds that the node is away (default 60)",
    )
    parser.add_argument(
        "--rate", type=int, default=100_000, help="--absence: events a second (default 100000)"
    )
    parser.add_argument("--http-port", type=port, default=8501, help="first of six (default 8501)")
    parser.add_argument("--peer-port", type=port, default=7501, help="first of six (default 7501)")
    parser.add_argument(
        "--proxy-port", type=port, default=7600, help="first of twenty-five (default 7600)"
    )
    parser.add_argument("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--dir",
        type=Path,
        dest="directory",
        help="an empty or new directory for data and logs (default: a new one in .build)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result there")
    parser.add_argument("--keep", action="store_true", help="keeps the directory of a clean run")
    values = parser.parse_args(arguments)

    chosen = {"all": known, "none": []}.get(values.faults, values.faults.split(","))
    strangers = sorted(set(chosen) - set(known))
    if strangers:
        parser.error(f"--faults {','.join(strangers)}: known are {', '.join(known)}, all and none")
    acts = hostile if values.hostile in (None, "all") else values.hostile.split(",")
    strangers = sorted(set(acts) - set(hostile))
    if strangers:
        parser.error(f"--hostile {','.join(strangers)}: known are {', '.join(hostile)}")
    directory = values.directory or Path(tempfile.mkdtemp(prefix="chaos.", dir=".build"))
    if directory.exists() and any(directory.iterdir()):
        parser.error(f"--dir {directory} is not empty; give a new one")
    return Options(
        mode=_mode(values),
        seed=values.seed,
        seconds=values.seconds,
        interval=values.interval,
        kills_min=values.kills_min,
        load=values.load,
        faults=frozenset(chosen),
        placement=values.placement,
        away=values.away,
        rate=values.rate,
        each=values.each,
        acts=tuple(acts),
        http_port=values.http_port,
        peer_port=values.peer_port,
        proxy_port=values.proxy_port,
        binary=values.binary.resolve(),
        directory=directory.resolve(),
        json=values.json,
        keep=values.keep,
    )
