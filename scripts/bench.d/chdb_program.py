"""What runs in chdb's own environment: one turn, asked and answered as JSON. `peer_chdb.py` starts
it."""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from chdb.session import Session

_TABLE = """
CREATE TABLE counts (type LowCardinality(String), key String, minute DateTime('UTC'), n UInt64)
ENGINE = SummingMergeTree(n) ORDER BY (key, type, minute)
"""
_FSYNCED = " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
_COLUMNS = "type String, key String, time String"
_SELECT = """
SELECT type, key, toStartOfMinute(at) AS minute, count() FROM
    (SELECT type, key, parseDateTime64BestEffortOrNull(time, 0, 'UTC') AS at FROM {source})
WHERE type != '' AND key != '' AND at IS NOT NULL GROUP BY type, key, minute
"""


def insert_file(session: Session, file: str) -> None:
    source = f"file('{file}', 'JSONEachRow', '{_COLUMNS}')"
    select = _SELECT.format(source=source)
    session.query(f"INSERT INTO counts {select}")


def insert_batches(session: Session, file: str, batch: int) -> None:
    # A batch is part of its statement, which may then be longer than statements usually are.
    session.query("SET max_query_size = 1000000000")
    with open(file, encoding="utf-8") as lines:
        while text := "".join(islice(lines, batch)):
            source = f"format(JSONEachRow, '{_COLUMNS}', $batch${text}$batch$)"
            session.query(f"INSERT INTO counts {_SELECT.format(source=source)}")


def rows(session: Session, query: str) -> list[list[Any]]:
    answer = str(session.query(query, "JSONCompactEachRow"))
    return [json.loads(line) for line in answer.splitlines() if line]


def main() -> None:
    question = json.loads(Path(sys.argv[1]).read_text())
    session = Session(question["data"])
    session.query(_TABLE + (_FSYNCED if question["batch"] else ""))
    began = time.monotonic()
    if question["batch"]:
        insert_batches(session, question["file"], question["batch"])
    else:
        insert_file(session, question["file"])
    seconds = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wanted = ",".join(f"('{kind}','{key}')" for kind, key in question["series"])
    minutes = rows(
        session,
        "SELECT type, key, formatDateTime(minute, '%Y-%m-%dT%H:%i'), toInt64(sum(n)) FROM counts "
        f"WHERE (type, key) IN ({wanted}) GROUP BY type, key, minute",
    )
    total = rows(session, "SELECT toInt64(sum(n)) FROM counts")[0][0]
    answer = {"seconds": seconds, "total": int(total), "minutes": minutes, "memory": memory}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
