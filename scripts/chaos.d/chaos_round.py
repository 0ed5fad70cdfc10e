"""One round of chaos: five nodes, a proxy for each directed link, producers, readers and the
nemesis; then healing, and every check."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import terminal
from cluster import READY_SECONDS, Cluster
from final_checks import FinalChecks
from http_client import HTTPClient
from ledger import Ledger
from nemesis import Nemesis
from options import Options
from producers import Producers
from proxies import Network
from readers import Readers
from report import Report
from stage import Stage

_NODES = 5
_PRODUCERS = 8
_READERS = 4
_PRODUCER_PACE = 0.15
_READER_PACE = 0.08
_RESOLVE_SECONDS = 60
# Small tables and soon written, so that there are files to lose.
_SETTINGS = ("memtable_size: 1MiB", "memtable_flush_age: 10s")


async def run_round(options: Options, directory: Path) -> Report:
    client = HTTPClient()
    ledger = Ledger()
    peer_ports = {f"n{i + 1}": options.peer_port + i for i in range(_NODES)}
    network = Network(peer_ports, options.proxy_port, options.seed)
    stage: Stage
    cluster = Cluster(
        directory,
        options.binary,
        _NODES,
        options.http_port,
        options.peer_port,
        on_end=lambda node, status: stage.node_ended(node, status),
        http_client=client,
        settings=(*_SETTINGS, f"placement: {options.placement}"),
        # A count of all days asks each of them.
        partitions=256 if options.placement == "key" else 16,
        links=lambda source, target: network.links[source, target].port,
    )
    stage = Stage(
        cluster,
        network,
        ledger,
        client,
        options.seed,
        options.faults,
        twin_http_port=options.http_port + _NODES,
        twin_peer_port=options.peer_port + _NODES,
    )
    nemesis = Nemesis(stage, options.interval)
    is_complete = False
    try:
        await cluster.check_ports(
            [link.port for link in network.links.values()]
            + [stage.twin_http_port, stage.twin_peer_port]
        )
        await network.open()
        await cluster.start()
        terminal.say(f"{_NODES} nodes are ready; {options.seconds:g} s of faults begin")
        stage.is_running = True
        await _run(options, stage, nemesis)
        is_complete = not ledger.violations
    finally:
        stage.is_running = False
        await (cluster.stop() if is_complete else cluster.kill())
        await network.close()
        client.close()
    return Report(options, ledger, nemesis, network.bytes_carried())


async def _run(options: Options, stage: Stage, nemesis: Nemesis) -> None:
    ledger = stage.ledger
    ledger.began = time.monotonic()
    producers = Producers(
        stage.cluster, ledger, stage.client, options.seed, _PRODUCER_PACE / options.load
    )
    readers = Readers(
        stage.cluster, ledger, stage.client, options.seed, _READER_PACE / options.load
    )
    async with asyncio.TaskGroup() as group:
        line = group.create_task(_live_line(stage, nemesis))
        writing = [group.create_task(producers.run(number)) for number in range(_PRODUCERS)]
        reading = [group.create_task(readers.run(number)) for number in range(_READERS)]
        await nemesis.run(options.seconds, options.kills_min)
        kills = ledger.statistics["kills"]
        if kills < options.kills_min:
            ledger.violate("too few processes were killed", f"{kills} of {options.kills_min}")
        await _heal(stage)
        producers.stop()
        _, unfinished = await asyncio.wait(writing, timeout=_RESOLVE_SECONDS)
        for task in unfinished:
            task.cancel()
        readers.stop()
        await asyncio.wait(reading)
        line.cancel()
        for entry in ledger.unresolved:
            ledger.violate(
                "a batch without an outcome after all was healed",
                f"batch {entry.producer}/{entry.sequence}, {entry.attempts} attempts",
            )
        checks = FinalChecks(stage.cluster, ledger, stage.client, options.seed, options.binary)
        await checks.run()


async def _heal(stage: Stage) -> None:
    began = time.monotonic()
    await stage.network.heal()
    for node in stage.cluster.all:
        node.resume()
        await node.start()
    late = await stage.cluster.wait_until_ready(READY_SECONDS)
    for reason in late:
        stage.ledger.violate("not ready after all was healed", reason)
    if not late:
        terminal.hold(f"all is healed, all nodes vote after {time.monotonic() - began:.1f} s")


async def _live_line(stage: Stage, nemesis: Nemesis) -> None:
    line = terminal.LiveLine()
    statistics = stage.ledger.statistics
    while True:
        nodes = "".join(
            "-" if not node.is_running else "=" if node.is_paused else node.name[1:]
            for node in stage.cluster.all
        )
        faults = ",".join(sorted(+stage.ledger.faults_under_way))
        line.show(
            f"{stage.ledger.elapsed():5.0f} s  nodes {nodes}  {nemesis.done.total()} acts, "
            f"{statistics['kills']} kills  {statistics['events acknowledged']:,} events in "
            f"{statistics['batches acknowledged']:,} batches  "
            f"{statistics['reads answered 200']:,} reads  "
            f"{len(stage.ledger.violations)} violations  {faults}"
        )
        await asyncio.sleep(1)
