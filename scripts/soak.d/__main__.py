"""scripts/soak, behind its wrapper: the run, its slopes and picture, the exit status."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from dataclasses import asdict
from typing import Any

import terminal
from cluster import NodeError
from measures import MEASURES, trend_of
from options import Options, read_options
from picture import Picture
from soak import Outcome, Soak
from trend import POINTS_MIN


async def run(options: Options, soak: Soak) -> None:
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C and SIGTERM unwind like an error, so that all that was started is stopped.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    await soak.run()


def figure(value: float | None, sign: str = "") -> str:
    return "?" if value is None else f"{value:{sign},.2f}"


def show_trends(options: Options, outcome: Outcome, nodes: list[str]) -> dict[str, Any]:
    """Prints the slopes and returns them; a growth that may not be is a failure."""
    terminal.title(f"Slopes, after a warm-up of {options.warm_up / 60:.0f} min (history: 75 min)")
    terminal.say(f"  {'':24}{'mean':>12}{'per hour':>14}{'± error':>12}   verdict")
    table: dict[str, Any] = {}
    for measure in MEASURES:
        for node in nodes:
            trend = trend_of(outcome.samples, node, measure, options.warm_up)
            table[f"{measure.name} {node}"] = asdict(trend)
            label = f"{measure.title}, {node}"
            words = (
                f"  {label:24}{trend.mean:>12,.1f}{figure(trend.slope_per_hour, '+'):>14}"
                f"{figure(trend.error_per_hour):>12}   {trend.verdict}"
            )
            terminal.say(f"{words} {measure.unit and f'({measure.unit})'}")
            if trend.verdict == "growing":
                slope = figure(trend.slope_per_hour)
                outcome.fail(f"{label} grows by {slope} {measure.unit} an hour")
    return table


def is_judged(trends: dict[str, Any]) -> bool:
    return trends["rss n1"]["verdict"] != "too short"


def finish(options: Options, soak: Soak) -> bool:
    """Shows and writes what was found; whether the run was long enough for slopes."""
    outcome = soak.outcome
    nodes = [node.name for node in soak.cluster.all]
    trends = show_trends(options, outcome, nodes)
    title = (
        f"scripts/soak: {options.seconds / 3600:g} h, {options.rate:,} events/s, "
        f"{len(outcome.kills)} kills"
    )
    if not is_judged(trends):
        title += "; too short for verdicts on slopes"
    picture = Picture(outcome.samples, nodes, outcome.kills, options.warm_up)
    (options.output / "picture.svg").write_text(picture.svg(title))
    result = {
        "hours": options.seconds / 3600,
        "rate": options.rate,
        "kills": outcome.kills,
        "figures": outcome.figures,
        "trends": trends,
        "failures": outcome.failures,
    }
    (options.output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    terminal.say(f"samples.tsv, picture.svg and result.json: {options.output}")
    return is_judged(trends)


def main() -> int:
    options = read_options(sys.argv[1:])
    options.output.mkdir(parents=True, exist_ok=True)
    soak = Soak(options)
    terminal.title(f"Soak: {options.seconds / 3600:g} h at {options.rate:,} events/s")
    try:
        asyncio.run(run(options, soak))
    except asyncio.CancelledError:
        terminal.fail("interrupted")
        finish(options, soak)
        return 130
    except NodeError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    judged = finish(options, soak)
    if soak.outcome.failures:
        terminal.fail(f"{len(soak.outcome.failures)} failures; kept: {options.directory}")
        return 1
    shutil.rmtree(options.directory)
    if options.output != options.directory.parent:
        options.directory.parent.rmdir()
    if judged:
        terminal.hold("every count is right, and nothing grows")
    else:
        terminal.hold("every count is right")
        terminal.say(
            f"too short a run to tell what grows: {POINTS_MIN} minutes after the warm-up are "
            "needed for a verdict; the slopes and their errors are what they are"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
