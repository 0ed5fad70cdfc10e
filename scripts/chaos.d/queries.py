"""Reads over HTTP, as numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from http_client import Answer, HTTPClient, component
from ledger import Series
from workload import AUDIT_TYPE, MINUTES, TYPE, minute_end, minute_of, minute_text


class Refused(Exception):
    """An answer other than 200: never a number."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.text()[:200]}")
        self.status = answer.status


class WrongAnswer(Exception):
    """A 200 that contradicts itself or names what nobody sent."""


@dataclass(frozen=True)
class SeriesAnswer:
    """Counts by minute, or of an audit key [sum, count]."""

    values: list[int]
    replicas: list[str]


async def ask_series(
    client: HTTPClient, address: str, series: Series, level: str, timeout: float = 10
) -> SeriesAnswer:
    kind, key = series
    target = f"/v1/counts/{kind}/{component(key)}?step=1m&consistency={level}"
    body = await _ask(client, address, target, timeout)
    if body["consistency"] != level:
        raise WrongAnswer(f"asked at {level}, answered at {body['consistency']}: {body}")
    windows = body["windows"]
    total = int(body["total"]["count"])
    if sum(int(window["count"]) for window in windows) != total:
        raise WrongAnswer(f"the windows of {kind} {key} do not add up to their total: {body}")
    if kind == AUDIT_TYPE:
        sums = Decimal(body["total"].get("sum", "0"))
        if sums != int(sums):
            raise WrongAnswer(f"the sum of {key} is {sums}, of whole numbers")
        values = [int(sums), total]
    else:
        values = [0] * MINUTES
        for window in windows:
            minute = minute_of(window["start"])
            if minute is None:
                raise WrongAnswer(f"{key} has a window at {window['start']}, which nobody sent")
            values[minute] = int(window["count"])
    return SeriesAnswer(values, list(body["replicas"]))


@dataclass(frozen=True)
class MinuteAnswer:
    counts: dict[str, int]
    replicas: list[str]


async def ask_minute(
    client: HTTPClient, address: str, minute: int, level: str, timeout: float = 10
) -> MinuteAnswer:
    """All keys of one minute, alone or with the day after it: a read of all partitions."""
    after = minute_end(minute) if minute % 2 == 0 else minute_text(minute + 1)
    target = f"/v1/top/{TYPE}?from={minute_text(minute)}&to={after}&k=10000&consistency={level}"
    body = await _ask(client, address, target, timeout)
    counts = {row["key"]: int(row["count"]) for row in body["rows"]}
    return MinuteAnswer(counts, list(body["replicas"]))


async def ask_keys(client: HTTPClient, address: str, kind: str) -> list[str]:
    keys: list[str] = []
    page = ""
    while True:
        body = await _ask(client, address, f"/v1/keys/{kind}?limit=1000{page}", 10)
        keys += [item["key"] for item in body["items"]]
        if body["next"] is None:
            return keys
        page = f"&page={component(body['next'])}"


async def ask_dead_letters(client: HTTPClient, address: str) -> Counter[tuple[str, int]]:
    """How many dead letters each batch has, by producer's id and sequence."""
    letters: Counter[tuple[str, int]] = Counter()
    page = ""
    while True:
        body = await _ask(client, address, f"/v1/dead-letters?limit=1000{page}", 10)
        for item in body["items"]:
            letters[item["batch"]["producer"], item["batch"]["sequence"]] += 1
        if body["next"] is None:
            if body["total"] != letters.total():
                raise WrongAnswer(f"{letters.total()} dead letters, total {body['total']}")
            return letters
        page = f"&page={component(body['next'])}"


async def ask_outcome(
    client: HTTPClient, address: str, producer: str, sequence: int
) -> tuple[str, bool, int, int, int]:
    """(outcome, final, events, counted, dead)"""
    body = await _ask(client, address, f"/v1/batches/{producer}/{sequence}", 10)
    numbers = (int(body.get(name, -1)) for name in ("events", "counted", "dead"))
    events, counted, dead = numbers
    return str(body["outcome"]), bool(body["final"]), events, counted, dead


async def _ask(client: HTTPClient, address: str, target: str, timeout: float) -> Any:
    answer = await client.get(address, target, timeout)
    if answer.status != 200:
        raise Refused(answer)
    return answer.json()
