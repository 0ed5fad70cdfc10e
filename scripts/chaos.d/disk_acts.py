"""Faults of disks, inside the budget: one at a time, while all nodes are up and vote.

A wiped directory shows itself, so that other faults may go on while the node recovers. One that
was set back, and a log that lost its end, are recognised by what the peers have heard of, so that
what is flipped is older than that. A bit of a table may stay unread for long: the node is asked for
an audit, which reads everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from pathlib import Path

from cluster import READY_SECONDS, Node, replace_directory
from http_client import HTTPFailure
from process_acts import keep_copy
from stage import Act, Stage

# Peers hear once a second how far a node's disk has come, and put it on theirs.
_HEARD_SECONDS = 4
_AUDIT_SECONDS = 60


async def _wipe(stage: Stage, draw: random.Random) -> bool:
    node = draw.choice(stage.cluster.all)
    with stage.holding([node]):
        await node.kill()
        stage.ledger.statistics["kills"] += 1
        await asyncio.sleep(draw.uniform(0, 2))
        await asyncio.to_thread(shutil.rmtree, node.data)
        await node.start()
    return True


async def _restore(stage: Stage, draw: random.Random) -> bool:
    """The directory as it was at an earlier stop; at first there is none, and one is kept."""
    node = draw.choice(stage.cluster.all)
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


def _sizes(node: Node) -> dict[Path, int]:
    files = [*node.data.glob("log/*.log"), *node.data.glob("sstables/*.sst")]
    return {file: file.stat().st_size for file in sorted(files)}


async def _flip(stage: Stage, draw: random.Random) -> bool:
    """One bit of a log or table of a stopped node."""
    node = draw.choice(stage.cluster.all)
    with stage.holding([node]):
        heard = _sizes(node)
        await asyncio.sleep(_HEARD_SECONDS)
        await node.kill()
        stage.ledger.statistics["kills"] += 1
        present = _sizes(node)
        files = [file for file, size in heard.items() if size > 0 and file in present]
        if files:
            # A log as often as a table, however many there are of each.
            suffix = draw.choice([".log", ".sst"])
            file = draw.choice([file for file in files if file.suffix == suffix] or files)
            _flip_bit(node, file, draw.randrange(heard[file]), draw)
        await node.start()
        await _await_vote(stage, node)
        if files:
            # It may end and start anew while it answers.
            with contextlib.suppress(HTTPFailure):
                await stage.client.get(node.http, "/v1/audit", timeout=_AUDIT_SECONDS)
            await _await_vote(stage, node)
    return bool(files)


def _flip_bit(node: Node, file: Path, offset: int, draw: random.Random) -> None:
    with file.open("r+b") as contents:
        contents.seek(offset)
        byte = contents.read(1)[0] ^ (1 << draw.randrange(8))
        contents.seek(offset)
        contents.write(bytes([byte]))
    with node.log.open("a") as log:
        log.write(f"---- a bit of byte {offset} of {file.name} was flipped\n")


async def _await_vote(stage: Stage, node: Node) -> None:
    late = await stage.cluster.wait_until_ready(READY_SECONDS, [node])
    if late:
        stage.ledger.violate("a node does not come back from a disk fault", "; ".join(late))


ACTS = [
    Act("wipe", 4, _wipe, needs_quiet=True),
    Act("restore", 4, _restore, needs_quiet=True),
    Act("flip", 4, _flip, needs_quiet=True),
]
