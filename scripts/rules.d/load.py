"""Producers that send batches and, in the end, all of them again, and what must have become of
them."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass

from stage import NODES, Stage

MINUTE = 60_000
PATIENCE = 300


@dataclass
class Batch:
    producer: uuid.UUID
    sequence: int
    created: int
    counted: int = -1
    dead: int = -1

    def body(self) -> bytes:
        """One event of its time, one of two hours before, one of half an hour after."""
        lines = [
            {"type": "view", "key": key, "time": self.created + offset}
            for key, offset in (("now", 0), ("old", -120 * MINUTE), ("new", 30 * MINUTE))
        ]
        return "\n".join(json.dumps(line) for line in lines).encode()


class Load:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.batches: list[Batch] = []
        self.wrong: list[str] = []
        self.refused = 0
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._produce, args=(i,)) for i in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def send(self, batch: Batch, node: str) -> dict[str, object] | None:
        """The answer where the batch is counted; None where it must be sent again."""
        request = urllib.request.Request(
            self.stage.http(node) + "/v1/events", batch.body(),
            {
                "Content-Type": "application/x-ndjson", "Quipu-Producer": str(batch.producer),
                "Quipu-Sequence": str(batch.sequence), "Quipu-Created": str(batch.created),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            detail = json.load(error)
            if error.code in (429, 503, 504):
                with self._lock:
                    self.refused += 1
            else:
                self._note(f"{node} answered {batch}: {error.code} {detail}")
        except OSError:
            pass
        return None

    def send_until_counted(self, batch: Batch, first: int) -> dict[str, object] | None:
        for attempt in range(PATIENCE):
            answer = self.send(batch, NODES[(first + attempt) % len(NODES)])
            if answer is not None:
                return answer
            threading.Event().wait(0.1)
        self._note(f"{batch} is not counted")
        return None

    def _produce(self, number: int) -> None:
        producer = uuid.uuid4()
        sequence = 0
        while not self._ends.is_set():
            batch = Batch(producer, sequence, self.stage.clock.now())
            answer = self.send_until_counted(batch, number + sequence)
            if answer is not None:
                batch.counted, batch.dead = int(answer["counted"]), int(answer["dead"])
                with self._lock:
                    self.batches.append(batch)
            sequence += 1
            self._ends.wait(0.02)

    def send_all_again(self) -> None:
        """Through each node: the same batch, the same answer."""
        for index, batch in enumerate(self.batches):
            answer = self.send_until_counted(batch, index)
            if answer is None:
                continue
            seen = (answer["duplicate"], answer["counted"], answer["dead"])
            if seen != (True, batch.counted, batch.dead):
                self._note(f"{batch} sent again came to {seen}")

    def _note(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)
