"""Faults of links: cut or stalled, one way or both, and slow."""

from __future__ import annotations

import asyncio
import random

from process_acts import draw_seconds
from proxies import Flow, Link
from stage import Act, Stage

# Longer than a node believes that it is not the twin that it is told to be.
_UNHEARD_SECONDS = 9.0
_CUT_SECONDS = ((0.6, 0.5, 4.0), (0.3, 4.0, 10.0), (0.1, 10.0, 20.0))


async def _interrupt(stage: Stage, draw: random.Random, links: list[Link]) -> bool:
    flow = draw.choice((Flow.CUT, Flow.STALLED))
    try:
        for link in links:
            await link.set_flow(flow)
        await asyncio.sleep(draw_seconds(draw, _CUT_SECONDS))
    finally:
        for link in links:
            await link.set_flow(Flow.OPEN)
    return True


async def _cut(stage: Stage, draw: random.Random) -> bool:
    """Both ways: a pair, one node from all, or two nodes from three."""
    nodes = stage.cluster.all
    shape = draw.choice(("pair", "node", "halves"))
    first, second, *others = draw.sample(nodes, len(nodes))
    if shape == "pair":
        links = stage.links(first, second) + stage.links(second, first)
    elif shape == "node":
        links = stage.links(first, None) + stage.links(None, first)
    else:
        links = []
        for inside in (first, second):
            for outside in others:
                links += stage.links(inside, outside) + stage.links(outside, inside)
    return await _interrupt(stage, draw, links)


async def _cut_one_way(stage: Stage, draw: random.Random) -> bool:
    """One way: a link, all that a node says, or all that it hears."""
    first, second = draw.sample(stage.cluster.all, 2)
    links = draw.choice(
        (stage.links(first, second), stage.links(first, None), stage.links(None, first))
    )
    return await _interrupt(stage, draw, links)


async def _slow(stage: Stage, draw: random.Random) -> bool:
    """Late or narrow: one node's links, or all."""
    node = draw.choice((None, *stage.cluster.all))
    links = stage.links(node, None) + stage.links(None, node)
    delay = draw.choice((0.0, 0.02, 0.1, 0.3))
    rate = draw.choice((None, 30_000.0, 200_000.0)) if delay else draw.choice((30_000.0, 200_000.0))
    try:
        for link in links:
            link.set_speed(delay, rate)
        await asyncio.sleep(draw_seconds(draw, _CUT_SECONDS))
    finally:
        for link in links:
            link.set_speed()
    return True


async def _kill_unheard(stage: Stage, draw: random.Random) -> bool:
    """A node dies and starts again while nothing from its peers reaches it: they hear neither the
    end of the old process on their connections to it, as after a power cut, nor may they take the
    new process for a second one under its name."""
    nodes = stage.free(draw, 1)
    if nodes is None:
        return False
    links = stage.links(None, nodes[0])
    with stage.holding(nodes):
        try:
            for link in links:
                await link.set_flow(Flow.STALLED)
            await nodes[0].kill()
            stage.ledger.statistics["kills"] += 1
            await asyncio.sleep(draw.uniform(0, 3))
            await nodes[0].start()
            await asyncio.sleep(_UNHEARD_SECONDS)
        finally:
            for link in links:
                await link.set_flow(Flow.OPEN)
    return True


ACTS = [
    Act("cut", 10, _cut),
    Act("cut-one-way", 10, _cut_one_way),
    Act("slow", 8, _slow),
    Act("kill-unheard", 3, _kill_unheard, is_default=False),
]
