"""Clusters whose windows are no minutes: a second with limits, and an hour in nights when clocks
change."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from load import MINUTE, PATIENCE
from stage import NODES, Stage, text

SECOND = 1000
HOUR = 60 * MINUTE

Claim = Callable[..., None]
Event = tuple[str, Any]


def send(stage: Stage, node: str, events: list[Event]) -> dict[str, Any]:
    """The answer that counts them; what a node refuses for the moment is sent again."""
    lines = [json.dumps({"type": "view", "key": key, "time": at}) for key, at in events]
    request = urllib.request.Request(
        stage.http(node) + "/v1/events", "\n".join(lines).encode(),
        {"Content-Type": "application/x-ndjson"})
    for _ in range(PATIENCE):
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise
        time.sleep(0.1)
    raise RuntimeError(f"{node} takes no events")


def counts(stage: Stage, node: str, key: str, **query: str) -> dict[str, int]:
    """By the start of their window; with an error its status alone. A node that is ready may have
    heard of too few others yet: what it refuses for the moment is asked again."""
    target = f"/v1/counts/view/{key}?{urllib.parse.urlencode(query)}"
    for _ in range(PATIENCE):
        status, body = stage.get(node, target)
        if status not in (429, 503):
            break
        time.sleep(0.1)
    if status != 200:
        return {"status": status}
    return {window["start"]: window["count"] for window in body["windows"]}


def by(length: int, times: list[int]) -> dict[str, int]:
    return dict(Counter(text(at // length * length) for at in times))


def each_node(
    stage: Stage, claim: Claim, what: str, want: dict[str, int], key: str, **query: str
) -> None:
    have = {node: counts(stage, node, key, **query) for node in NODES}
    claim(all(said == want for said in have.values()), what, f"{have}, must be {want}")


def seconds(stage: Stage, claim: Claim) -> None:
    base = (stage.clock.now() - 10 * MINUTE) // MINUTE * MINUTE
    times = [base + 700 * number for number in range(180)]
    for node, part in (("n1", times[::2]), ("n2", times[1::2])):
        answer = send(stage, node, [("s", at) for at in part])
        claim(answer["counted"] == len(part), f"{len(part)} events are counted by {node}", answer)
    each_node(stage, claim, "each second has its events", by(SECOND, times), "s", step="1s")
    each_node(stage, claim, "without a step they are shown by minutes", by(MINUTE, times), "s")
    each_node(
        stage, claim, "ten of its seconds are those that begin in the range",
        by(SECOND, [at for at in times if base + 10_000 <= at < base + 20_000]),
        "s", step="1s", **{"from": text(base + 10_000), "to": text(base + 20_000)})
    now = stage.clock.now()
    limits = [now - HOUR - MINUTE, now - HOUR + MINUTE, now + 9 * MINUTE, now + 11 * MINUTE]
    answer = send(stage, "n2", [("limits", at) for at in limits])
    reasons = [error["reason"] for error in answer["errors"]]
    claim(
        (answer["counted"], reasons) == (2, ["too-late", "in-the-future"]),
        "what is later than an hour or more than ten minutes ahead is a dead letter", answer)
    each_node(
        stage, claim, "the others are counted", by(SECOND, limits[1:3]), "limits", step="1s")


def hours(stage: Stage, claim: Claim) -> None:
    spring = ["2025-03-30T01:59:59+01:00", "2025-03-30T03:00:00+02:00"]
    autumn = [
        "2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00", "2025-10-26T03:30:00+01:00"]
    for node, part in (("n1", spring + autumn[:1]), ("n2", autumn[1:])):
        answer = send(stage, node, [("h", at) for at in part])
        claim(answer["counted"] == len(part), f"{len(part)} events are counted by {node}", answer)
    nights = {"2025-03-30": 2, "2025-10-26": 3}
    want = {
        f"{day}T{hour:02}:00:00Z": 1 for day, number in nights.items() for hour in range(number)}
    what = "when clocks change no hour is missing and none is there twice"
    each_node(stage, claim, what, want, "h", step="1h")
    each_node(stage, claim, "hours are shown without a step", want, "h")
    days = {f"{day}T00:00:00Z": number for day, number in nights.items()}
    each_node(stage, claim, "days are those of UTC", days, "h", step="1d")
    each_node(stage, claim, "minutes are refused", {"status": 400}, "h", step="1m")
    each_node(
        stage, claim, "a local day of 25 hours is asked for by its bounds",
        {start: 1 for start in want if start.startswith("2025-10")}, "h", step="1h",
        **{"from": "2025-10-26T00:00:00+02:00", "to": "2025-10-27T00:00:00+01:00"})


def check_windows(
    directory: Path, binary: str, port: int, library: Path, claim: Claim
) -> None:
    for length, settings, zone, check in (
        ("1s", ("lateness: 1h", "future_limit: 10m"), "UTC", seconds),
        ("1h", (), "Europe/Berlin", hours),
    ):
        print(f"window: {length}", flush=True)
        folder = directory / f"window-{length}"
        folder.mkdir()
        stage = Stage(folder, binary, port, library, f"window: {length}", *settings)
        stage.environment["TZ"] = zone
        try:
            for node in NODES:
                stage.configure(node)
                stage.start(node)
            for node in NODES:
                claim(stage.wait_ready(node), f"{node} is ready", stage.reasons(node))
            check(stage, claim)
        finally:
            stage.close()
