"""The real files: how each is sent, and what Python reads in it, by means of its own: json, csv, a
regular expression, datetime."""

from __future__ import annotations

import csv
import gzip
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Callable, Iterator


@dataclass(frozen=True)
class Event:
    type: str
    key: str
    # Since 1970, rounded down.
    minute: int
    value: Decimal | None = None


@dataclass(frozen=True)
class Source:
    names: tuple[str, ...]
    # Of `quipu send`.
    mapping: tuple[str, ...]
    # None: the line is no event.
    read: Callable[[Path], Iterator[Event | None]]
    # What somebody else counted, with other means: types, keys over all types, and days, hours or
    # minutes of UTC over all keys; and the sum of all values.
    types: dict[str, int]
    keys: dict[str, int]
    spans: dict[str, int] = field(default_factory=dict)
    sum: int | None = None


def _minute_of(at: datetime) -> int:
    return int(at.timestamp() // 60)


def utc_minute(text: str) -> int:
    return _minute_of(datetime.fromisoformat(text))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from file


def _github(path: Path) -> Iterator[Event | None]:
    for line in _lines(path):
        row = json.loads(line)
        commits = row.get("commits")
        value = None if commits is None else Decimal(commits)
        yield Event(row["type"], row["repo"], utc_minute(row["dt"]), value)


def _git(path: Path) -> Iterator[Event | None]:
    lines = _lines(path)
    names = next(lines).rstrip("\n").split("\t")
    at, change, where = (names.index(name) for name in ("author_ts", "change", "path"))
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        yield Event(fields[change], fields[where], int(fields[at]) // 60)


_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CLF = re.compile(
    r'\S+ \S+ \S+ \[(?P<time>[^\]]+)\] "\S+ (?P<path>\S+)(?: [^"]*)?" (?P<status>\d{3}) (?:\d+|-)'
    rf"(?: {_QUOTED} {_QUOTED})?"
)


def _clf(type: str, key: str) -> Callable[[Path], Iterator[Event | None]]:
    def read(path: Path) -> Iterator[Event | None]:
        for line in _lines(path):
            found = _CLF.fullmatch(line.rstrip("\r\n"))
            if not found:
                yield None
                continue
            at = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
            yield Event(type, found[key], _minute_of(at))

    return read


def _flights(path: Path) -> Iterator[Event | None]:
    for row in csv.DictReader(_lines(path)):
        yield Event("flight", row["dest"], utc_minute(row["time_hour"]), Decimal(row["distance"]))


def _wikipedia(path: Path) -> Iterator[Event | None]:
    for line in _lines(path):
        row = json.loads(line)
        yield Event(row["channel"], row["page"], utc_minute(row["time"]), Decimal(row["delta"]))


def _fields(key: str, time: str, *more: str) -> tuple[str, ...]:
    return ("--key-field", key, "--time-field", time, *more)


SOURCES = (
    Source(
        names=tuple(f"gharchive-min-2015-02-22-{hour}.json.gz" for hour in (21, 22, 23)),
        mapping=_fields("repo", "dt", "--type-field", "type", "--value-field", "commits"),
        read=_github,
        types={
            "push": 39_206, "icomment": 9_430, "create": 8_712, "watch": 4_847, "issue": 4_019,
            "pr": 2_921, "fork": 2_281, "del": 1_293, "prcomment": 895, "golem": 722,
            "ccomment": 426, "member": 350, "release": 243, "public": 67,
        },
        keys={
            "chrsmith/bwapi": 5_138, "jtleek/datasharing": 316,
            "rdpeng/ProgrammingAssignment2": 267, "direwolf-github/my-app": 264,
            "KenanSulayman/heartbeat": 218,
        },
        spans={
            "2015-02-22T21": 29_963, "2015-02-22T22": 24_272, "2015-02-22T23": 21_177,
            "2015-02-22T21:17": 640, "2015-02-22T21:18": 744,
        },
        sum=64_374,
    ),
    Source(
        names=("git_file_changes.tsv.gz",),
        mapping=_fields("path", "author_ts", "--format", "tsv", "--type-field", "change"),
        read=_git,
        types={"M": 127_905, "A": 7_406, "D": 2_584, "T": 4},
        keys={
            "Makefile": 2_356, "cache.h": 1_471, "diff.c": 1_194, "refs.c": 1_082,
            "Documentation/config.txt": 915,
        },
        spans={"2025-01-20T01": 1_831, "2013-01-10T22": 4, "2018-10-27": 186},
    ),
    Source(
        names=("semicomplete_apache_access_10k.log.gz",),
        mapping=("--format", "clf", "--type", "hit", "--key-field", "path"),
        read=_clf("hit", "path"),
        types={"hit": 9_999},
        keys={
            "/favicon.ico": 807, "/style2.css": 546, "/reset.css": 538,
            "/images/jordan-80.png": 533, "/images/web/2009/banner.png": 516,
        },
        spans={"2015-05-19T19:05": 136},
    ),
    Source(
        names=("semicomplete_apache_access_10k.log.gz",),
        mapping=("--format", "clf", "--type", "answer", "--key-field", "status"),
        read=_clf("answer", "status"),
        types={"answer": 9_999},
        keys={"200": 9_125, "304": 445, "404": 213},
    ),
    Source(
        names=("nycflights13_flights.csv.gz",),
        mapping=_fields(
            "dest", "time_hour", "--format", "csv", "--type", "flight", "--value-field", "distance"
        ),
        read=_flights,
        types={"flight": 336_776},
        keys={"ORD": 17_283, "ATL": 17_215, "LAX": 16_174},
        spans={"2013-06-15T12:00": 66},
    ),
    Source(
        names=("wikiticker-2015-09-12-sampled.12dates-altered.json.gz",),
        mapping=_fields("page", "time", "--type-field", "channel", "--value-field", "delta"),
        read=_wikipedia,
        types={},
        keys={"Wikipedia:Vandalismusmeldung": 33, "Jeremy Corbyn": 27},
        spans={"2015-09-12T12:01": 29, "2015-09-12T12": 1_709},
        sum=8_991_275,
    ),
)
