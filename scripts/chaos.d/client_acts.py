"""A producer that lies: other bytes, or another creation time, under an id that is taken."""

from __future__ import annotations

import asyncio
import random
import time

from http_client import HTTPFailure
from producers import post
from stage import Act, Stage
from workload import make_batch

_BATCHES = 3
_ATTEMPTS = 40
# A node may lose what it marked a moment ago; what is this old is settled on the disks.
_AGE_SECONDS = 5.0


async def _rogue(stage: Stage, draw: random.Random) -> bool:
    limit = time.monotonic() - _AGE_SECONDS
    known = [
        entry
        for entry in stage.ledger.entries.values()
        if entry.acknowledged_at is not None and entry.acknowledged_at < limit
    ]
    if len(known) < _BATCHES:
        return False
    for entry in draw.sample(known, _BATCHES):
        batch = make_batch(stage.seed, entry.producer, entry.sequence)
        if draw.random() < 0.5:
            body = batch.body.replace(b"T00:0", b"T00:1", 1) + b"\n"
            created = entry.created
        else:
            body, created = batch.body, entry.created + 1
        status = 0
        for _ in range(_ATTEMPTS):
            address = draw.choice(stage.cluster.all).http
            try:
                answer = await post(stage.client, stage.seed, address, batch, created, body)
            except HTTPFailure:
                await asyncio.sleep(0.2)
                continue
            status = answer.status
            if status not in (429, 503, 504):
                break
            await asyncio.sleep(0.2)
        stage.ledger.statistics["other bytes under a known id"] += 1
        if status != 422:
            stage.ledger.violate(
                "other content under a known id is not refused",
                f"{batch}: the last answer is {status}, must be 422",
            )
    return True


ACTS = [Act("rogue", 5, _rogue, needs_quiet=True)]
