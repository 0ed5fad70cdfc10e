"""A comparison that never finds a wrong count proves nothing, and one that parses wrongly would
blame others. `PYTHONPATH=scripts/chaos.d python3 scripts/bench.d/checks_test.py` runs it."""

from __future__ import annotations

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import events
from peer import Outcome, differences

_LINES = (
    b'{"type":"view","key":"k0000000000","time":"2026-01-01T00:17:09Z"}\n',
    b'{"type":"view","key":"k0000000000","time":"2026-01-01T00:17:59Z"}\n',
    b'{"type":"like","key":"k0000000001","time":"2026-01-01T00:18:00Z"}\n',
)


class CheckTests(unittest.TestCase):
    def setUp(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "events"
            file.write_bytes(b"".join(_LINES))
            self.data = events.count(file, len(_LINES))
        self.right = Outcome(1.0, 3, {s: dict(m) for s, m in self.data.minutes.items()}, None)

    def test_the_input_is_counted_by_minute(self) -> None:
        self.assertEqual(self.data.good, 3)
        self.assertEqual(self.data.minutes["view", "k0000000000"], {"2026-01-01T00:17": 2})

    def test_what_is_right_has_no_differences(self) -> None:
        self.assertEqual(differences(self.right, self.data), [])

    def test_a_lost_event_is_found(self) -> None:
        self.assertEqual(len(differences(replace(self.right, total=2), self.data)), 1)

    def test_an_event_in_the_wrong_minute_is_found(self) -> None:
        minutes = self.right.minutes | {("view", "k0000000000"): {"2026-01-01T00:18": 2}}
        found = differences(replace(self.right, minutes=minutes), self.data)
        self.assertEqual(found, ["view k0000000000 at 2026-01-01T00:17: 0, must be 2"])

    def test_a_key_that_nobody_answered_for_is_found(self) -> None:
        self.assertTrue(differences(replace(self.right, minutes={}), self.data))

    def test_a_line_that_cannot_be_counted_is_none(self) -> None:
        for line in (b'{"type":"view"\n', b"7\n", b'{"type":"view","key":"k","time":"soon"}\n'):
            self.assertIsNone(events.parse(line))


if __name__ == "__main__":
    unittest.main()
