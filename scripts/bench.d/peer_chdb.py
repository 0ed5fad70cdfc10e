"""ClickHouse's engine inside one process (chdb): JSONEachRow, grouped into a SummingMergeTree."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cluster import die_with_parent
from events import BATCH, Input
from peer import Outcome, PeerError

_PROGRAM = Path(__file__).with_name("chdb_program.py")


class Chdb:
    """In one INSERT of the whole file, which suits the engine best, or in one per 10,000 events,
    each on disk before the next, which is what the others do."""

    def __init__(self, environment: Path, is_batched: bool) -> None:
        self._environment = environment
        self._is_batched = is_batched
        if is_batched:
            self.name = "chdb, one INSERT per 10,000"
            self.promise = "fsynced after each INSERT; one that is sent again is counted twice"
        else:
            self.name = "chdb, one INSERT of the file"
            self.promise = "not fsynced, one answer for all; what is sent again is counted twice"

    @property
    def _python(self) -> Path:
        return self._environment / "bin" / "python"

    def missing(self) -> str | None:
        if self._python.exists():
            return None
        folder = self._environment
        return f"python3 -m venv {folder} && {folder}/bin/pip install chdb"

    def prepare(self, data: Input) -> None:
        pass

    async def measure(self, data: Input, directory: Path) -> Outcome:
        question = directory / "question.json"
        question.write_text(
            json.dumps(
                {
                    "file": str(data.file),
                    "batch": BATCH if self._is_batched else 0,
                    "data": str(directory / "data"),
                    "series": sorted(data.minutes),
                }
            )
        )
        done = subprocess.run(
            [str(self._python), "-B", str(_PROGRAM), str(question)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=die_with_parent,
            check=False,
        )
        if done.returncode != 0:
            raise PeerError(f"chdb: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
        answer = json.loads(done.stdout)
        minutes = {series: {} for series in data.minutes}
        for kind, key, minute, count in answer["minutes"]:
            minutes[kind, key][minute] = int(count)
        return Outcome(answer["seconds"], answer["total"], minutes, answer["memory"])
