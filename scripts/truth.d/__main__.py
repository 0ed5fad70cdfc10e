"""scripts/truth, behind its wrapper."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import terminal
from cluster import Cluster, NodeError, die_with_parent
from files import SOURCES, Source
from http_client import HTTPClient, HTTPFailure, component
from truth import Truth
from videos import Videos

_READERS = 16
_ATTEMPTS = 5
_KEYS_MAX = 1_000_000
_SHOWN = 5


class Claims:
    def __init__(self) -> None:
        self.broken = 0

    def __call__(self, differences: list[str], what: str) -> None:
        if not differences:
            return terminal.hold(what)
        self.broken += 1
        terminal.fail(f"{what}: {len(differences):,} differ")
        for difference in differences[:_SHOWN]:
            terminal.say(f"    {difference}")

    def fail(self, words: str) -> None:
        self.broken += 1
        terminal.fail(words)


class Run:
    def __init__(self, cluster: Cluster, binary: Path, claim: Claims) -> None:
        self._cluster = cluster
        self._client = cluster.http_client
        self._binary = binary
        self._claim = claim

    async def send(self, source: Source, paths: list[Path], truth: Truth) -> None:
        """Sends the files; n2 is killed on the way, and comes back."""
        nodes = ",".join(node.http for node in self._cluster.all)
        arguments = ["send", *map(str, paths), *source.mapping, "--node", nodes]
        process = await asyncio.create_subprocess_exec(
            str(self._binary),
            *arguments,
            "--batch",
            "2000",
            "--json",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        victim = self._cluster.all[1]
        await asyncio.sleep(0.3)
        await victim.kill()
        await asyncio.sleep(0.5)
        await victim.start()
        output, _ = await process.communicate()
        if process.returncode != 0:
            return self._claim.fail(f"quipu send ended with {process.returncode}: {output!r}")
        said = json.loads(output)
        wrong = [
            f"{name} is {said[name]:,}, must be {number:,}"
            for name, number in (
                ("events", truth.events),
                ("dead", truth.dead),
                ("counted", truth.events - truth.dead),
            )
            if said[name] != number
        ]
        words = f"{said['events']:,} events sent, {said['dead']} of them dead letters"
        self._claim(wrong, f"{words}, n2 killed on the way: as many as Python reads")

    async def compare(self, source: Source, truth: Truth) -> None:
        known = [
            (name, counts[name], number)
            for counts, others in (
                (truth.types, source.types),
                (truth.keys, source.keys),
                (truth.spans, source.spans),
            )
            for name, number in others.items()
        ]
        if source.sum is not None:
            known.append(("sum of all values", int(truth.sum), source.sum))
        wrong = [
            f"{name}: {found:,}, others {number:,}"
            for name, found, number in known
            if found != number
        ]
        self._claim(wrong, f"Python's own totals: {len(known)} that others have found as well")
        await self._compare_tops(truth)
        await self._compare_series(truth)

    async def _compare_tops(self, truth: Truth) -> None:
        wrong: list[str] = []
        lists = 0
        for type in truth.types:
            totals: dict[str, dict[str, int | Decimal]] = {"count": {**truth.totals(type)}}
            if sums := truth.sums(type):
                totals["sum"] = {**sums}
            for measure, wanted in totals.items():
                found = await self._get(
                    f"/v1/top/{component(type)}?k={_KEYS_MAX}&measure={measure}", len(wanted)
                )
                rows = {row["key"]: Decimal(row[measure]) for row in found["rows"]}
                order = [Decimal(row[measure]) for row in found["rows"]]
                lists += 1
                if rows != wanted or order != sorted(order, reverse=True) or not found["exact"]:
                    wrong.append(f"top {type} by {measure}: {len(rows):,} of {len(wanted):,} keys")
        self._claim(wrong, f"{lists} lists of all keys of a type, by count and by sum")

    async def _compare_series(self, truth: Truth) -> None:
        names = iter(list(truth.series))
        wrong: list[str] = []
        began = time.monotonic()

        async def read(number: int) -> None:
            for type, key in names:
                target = f"/v1/counts/{component(type)}/{component(key)}?step=1m"
                difference = truth.difference(type, key, await self._get(target, number))
                if difference:
                    wrong.append(difference)

        async with asyncio.TaskGroup() as group:
            for number in range(_READERS):
                group.create_task(read(number))
        seconds = time.monotonic() - began
        words = f"{len(truth.series):,} keys by type, {truth.windows:,} windows"
        self._claim(wrong, f"{words} at QUORUM, each with its values ({seconds:.0f} s)")

    async def _get(self, target: str, number: int) -> Any:
        """Through one node after the other."""
        words = ""
        for attempt in range(_ATTEMPTS):
            node = self._cluster.all[(number + attempt) % len(self._cluster.all)]
            try:
                answer = await self._client.get(node.http, target, timeout=60)
                if answer.status == 200:
                    return answer.json()
                words = f"{node.name}: {answer.status} {answer.text()[:200]}"
            except HTTPFailure as failure:
                words = f"{node.name}: {failure}"
            await asyncio.sleep(0.5 * attempt)
        raise NodeError(f"no answer to {target}: {words}")

    async def audit(self) -> None:
        answer = await self._get("/v1/audit", 0)
        wrong = [] if answer["clean"] else [json.dumps(answer)[:500]]
        self._claim(wrong, "the audit is clean: replicas, disks and sums agree")


async def check(options: argparse.Namespace, directory: Path, claim: Claims) -> None:
    client = HTTPClient()
    cluster = Cluster(
        directory,
        options.binary,
        3,
        options.port,
        options.port + 3,
        on_end=lambda node, status: claim.fail(f"{node.name} ended by itself, status {status}"),
        http_client=client,
    )
    run = Run(cluster, options.binary, claim)
    try:
        await cluster.check_ports([])
        await cluster.start()
        for source in SOURCES:
            paths = [options.folder / name for name in source.names]
            terminal.title(", ".join(source.names))
            if missing := [path.name for path in paths if not path.exists()]:
                terminal.say(f"  not there, passed over: {', '.join(missing)}")
                continue
            truth = Truth()
            for path in paths:
                truth.add(source.read(path))
            await run.send(source, paths, truth)
            await run.compare(source, truth)
        await Videos(cluster, options.binary, claim, run.send).check(options.folder / "youtube")
        terminal.title("In the end")
        if late := await cluster.wait_until_ready(60):
            claim.fail(f"not ready: {'; '.join(late)}")
        await run.audit()
    finally:
        await cluster.stop()
        client.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/truth")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--binary", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=28180)
    options = parser.parse_args()
    options.binary = options.binary.absolute()
    if not any((options.folder / name).exists() for source in SOURCES for name in source.names):
        terminal.say(f"scripts/truth: none of the files is in {options.folder}; name their folder")
        return 1
    claim = Claims()
    directory = Path(tempfile.mkdtemp(prefix="quipu-truth."))
    try:
        asyncio.run(check(options, directory, claim))
    except NodeError as error:
        claim.fail(str(error))
    except KeyboardInterrupt:
        claim.fail("interrupted")
    if claim.broken:
        terminal.fail(f"{claim.broken} claims do not hold; data and logs are in {directory}")
        return 1
    terminal.hold("every count is right")
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
