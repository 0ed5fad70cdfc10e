"""Faults of disks, inside the budget: one at a time, while all nodes are up and vote.

A wiped directory shows itself, so that other faults may go on while the node recovers. One that
was set back is recognised by what its peers remember: until it votes again nothing else happens. A
flipped bit may stay unread for long, so that in a run with flips all disk faults hit one node.
"""

from __future__ import annotations

import asyncio
import random
import shutil

from cluster import READY_SECONDS, Node, replace_directory
from process_acts import keep_copy
from stage import Act, Stage


def _victim(stage: Stage, draw: random.Random) -> Node:
    if "flip" in stage.faults:
        return random.Random(f"disk/{stage.seed}").choice(stage.cluster.all)
    return draw.choice(stage.cluster.all)


async def _wipe(stage: Stage, draw: random.Random) -> bool:
    node = _victim(stage, draw)
    with stage.holding([node]):
        await node.kill()
        stage.ledger.statistics["kills"] += 1
        await asyncio.sleep(draw.uniform(0, 2))
        await asyncio.to_thread(shutil.rmtree, node.data)
        stage.damaged.discard(node.name)
        await node.start()
    return True


async def _restore(stage: Stage, draw: random.Random) -> bool:
    """The directory as it was at an earlier stop; at first there is none, and one is kept."""
    node = _victim(stage, draw)
    with stage.holding([node]):
        await node.kill()
        stage.ledger.statistics["kills"] += 1
        copy = stage.snapshot_of(node)
        is_old = copy.exists()
        if is_old:
            await asyncio.to_thread(replace_directory, node.data, copy)
        else:
            await keep_copy(stage, node)
        await asyncio.sleep(draw.uniform(0, 1))
        await node.start()
        await _await_vote(stage, node)
    return is_old


async def _flip(stage: Stage, draw: random.Random) -> bool:
    """One bit of a log or table of a stopped node."""
    node = _victim(stage, draw)
    with stage.holding([node]):
        await node.kill()
        stage.ledger.statistics["kills"] += 1
        files = sorted(node.data.glob("log/*.log")) + sorted(node.data.glob("sstables/*.sst"))
        files = [file for file in files if file.stat().st_size > 0]
        if files:
            file = draw.choice(files)
            offset = draw.randrange(file.stat().st_size)
            with file.open("r+b") as contents:
                contents.seek(offset)
                byte = contents.read(1)[0] ^ (1 << draw.randrange(8))
                contents.seek(offset)
                contents.write(bytes([byte]))
            with node.log.open("a") as log:
                log.write(f"---- a bit of byte {offset} of {file.name} was flipped\n")
            stage.damaged.add(node.name)
        await node.start()
        await _await_vote(stage, node)
    return bool(files)


async def _await_vote(stage: Stage, node: Node) -> None:
    late = await stage.cluster.wait_until_ready(READY_SECONDS, [node])
    if late:
        stage.ledger.violate("a node does not come back from a disk fault", "; ".join(late))


ACTS = [
    Act("wipe", 4, _wipe, needs_quiet=True),
    Act("restore", 4, _restore, needs_quiet=True, is_default=False),
    Act("flip", 4, _flip, needs_quiet=True, is_default=False),
]
