"""Faults of processes: kill -9 of one, two and all, SIGSTOP, a restart, a second process under a
node's name."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

from cluster import Node
from http_client import HTTPFailure
from stage import Act, Stage

# How long a node stays dead: often not long enough to be noticed.
_DEAD_SECONDS = ((0.5, 0.0, 0.3), (0.4, 0.3, 3.0), (0.1, 3.0, 8.0))
_PAUSE_SECONDS = ((0.7, 0.5, 5.0), (0.25, 5.0, 15.0), (0.05, 15.0, 60.0))
_TWIN_SECONDS = 20
_SNAPSHOT = "chaos"


def draw_seconds(draw: random.Random, shape: tuple[tuple[float, float, float], ...]) -> float:
    """From one of several ranges, each with its share."""
    shares = [share for share, _, _ in shape]
    _, low, high = draw.choices(shape, shares)[0]
    return draw.uniform(low, high)


async def _kill(stage: Stage, draw: random.Random, count: int) -> bool:
    nodes = stage.free(draw, count)
    if nodes is None:
        return False
    with stage.holding(nodes):
        keeps = "restore" in stage.faults and draw.random() < 0.3
        # By turns what a stop leaves and what the node itself takes while it works.
        source = nodes[0].data
        if keeps and draw.random() < 0.5 and await _take_snapshot(stage, nodes[0]):
            source = nodes[0].data / "snapshots" / _SNAPSHOT
        await asyncio.gather(*(node.kill() for node in nodes))
        stage.ledger.statistics["kills"] += len(nodes)
        if keeps:
            await keep_copy(stage, nodes[0], source)
        for node in nodes:
            await asyncio.sleep(draw_seconds(draw, _DEAD_SECONDS) / len(nodes))
            await node.start()
    return True


async def keep_copy(stage: Stage, node: Node, source: Path | None = None) -> None:
    """A copy of a stopped node's directory, or of its snapshot, to be put back some day."""
    copy = stage.snapshot_of(node)
    if copy.exists():
        await asyncio.to_thread(shutil.rmtree, copy)
    await asyncio.to_thread(shutil.copytree, source or node.data, copy)


async def _take_snapshot(stage: Stage, node: Node) -> bool:
    """False where the node does not answer in time: it may be paused or cut off."""
    try:
        await stage.client.request(node.http, "DELETE", f"/v1/snapshots/{_SNAPSHOT}")
        answer = await stage.client.request(node.http, "POST", f"/v1/snapshots?name={_SNAPSHOT}")
    except HTTPFailure:
        return False
    if answer.status == 200:
        stage.ledger.statistics["snapshots"] += 1
    return answer.status == 200


async def _kill_one(stage: Stage, draw: random.Random) -> bool:
    return await _kill(stage, draw, 1)


async def _kill_two(stage: Stage, draw: random.Random) -> bool:
    return await _kill(stage, draw, 2)


async def _kill_all(stage: Stage, draw: random.Random) -> bool:
    """All that run, also those that are paused or cut off."""
    nodes = [node for node in stage.cluster.all if node.is_running]
    with stage.holding(nodes):
        await asyncio.gather(*(node.kill() for node in nodes))
        stage.ledger.statistics["kills"] += len(nodes)
        await asyncio.sleep(draw.uniform(0, 2))
        for node in draw.sample(nodes, len(nodes)):
            await node.start()
            await asyncio.sleep(draw.choice((0.0, 0.0, 0.5)))
    return True


async def _pause(stage: Stage, draw: random.Random) -> bool:
    nodes = stage.free(draw, 1)
    if nodes is None:
        return False
    with stage.holding(nodes):
        nodes[0].pause()
        try:
            await asyncio.sleep(draw_seconds(draw, _PAUSE_SECONDS))
        finally:
            nodes[0].resume()
    return True


async def _restart(stage: Stage, draw: random.Random) -> bool:
    nodes = stage.free(draw, 1)
    if nodes is None:
        return False
    with stage.holding(nodes):
        await nodes[0].stop()
        await asyncio.sleep(draw.uniform(0, 1))
        await nodes[0].start()
    return True


async def _twin(stage: Stage, draw: random.Random) -> bool:
    """A process with a node's name, a directory and ports of its own, while the node lives. It must
    neither serve nor disturb, and ends or is refused by all."""
    victim = draw.choice(stage.cluster.all)
    number = stage.ledger.statistics["twins"]
    stage.ledger.statistics["twins"] += 1
    ended: list[int] = []
    twin = Node(
        name=victim.name,
        http=f"127.0.0.1:{stage.twin_http_port}",
        peer_port=stage.twin_peer_port,
        config=stage.cluster.directory / "conf" / "twin.conf",
        data=stage.cluster.directory / "data" / f"twin-{number}",
        log=stage.cluster.directory / "logs" / f"twin-{number}-of-{victim.name}.log",
        binary=victim.binary,
        on_end=lambda _, status: ended.append(status),
    )
    stage.cluster.write_configuration(twin)
    copy = stage.snapshot_of(victim)
    if copy.exists() and draw.random() < 0.5:
        await asyncio.to_thread(shutil.copytree, copy, twin.data)
    await twin.start()
    try:
        for _ in range(_TWIN_SECONDS * 4):
            if ended:
                break
            if await stage.cluster.is_ready(twin):
                stage.ledger.violate(
                    "a twin serves", f"a second process under the name {victim.name} is ready"
                )
                break
            await asyncio.sleep(0.25)
        if ended and ended[0] not in (1, 70):
            stage.ledger.violate(
                "a twin ended strangely",
                f"status {ended[0]}: {' | '.join(twin.log_tail(3))}",
            )
        outcome = "twins that ended by themselves" if ended else "twins that were stopped"
        stage.ledger.statistics[outcome] += 1
    finally:
        await twin.kill()
    return True


ACTS = [
    Act("kill", 30, _kill_one),
    Act("kill-two", 12, _kill_two),
    Act("kill-all", 5, _kill_all),
    Act("pause", 10, _pause),
    Act("restart", 5, _restart),
    Act("twin", 2, _twin, needs_quiet=True),
]
