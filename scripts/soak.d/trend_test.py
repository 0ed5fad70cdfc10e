"""A verdict that is always flat proves nothing. `python3 scripts/soak.d/trend_test.py` runs it."""

from __future__ import annotations

import math
import random
import unittest

from trend import judge, minute_means

_HOUR = 3600


def points(per_hour: float, noise: float, hours: float = 1.0) -> list[tuple[float, float]]:
    """A hundred of something, and what it gains, each five seconds."""
    draw = random.Random(7)
    return [
        (at, 100 + per_hour * at / _HOUR + draw.uniform(-noise, noise))
        for at in range(0, int(hours * _HOUR), 5)
    ]


class TrendTests(unittest.TestCase):
    def test_noise_is_flat(self) -> None:
        self.assertEqual(judge(points(0, 30), 1, 0).verdict, "flat")

    def test_a_leak_below_the_noise_of_a_sample_is_found(self) -> None:
        trend = judge(points(20, 30), 1, 0)
        self.assertEqual(trend.verdict, "growing")
        self.assertAlmostEqual(trend.slope_per_hour or 0, 20, delta=5)

    def test_what_shrinks_is_falling(self) -> None:
        self.assertEqual(judge(points(-20, 3), 1, 0).verdict, "falling")

    def test_a_small_growth_is_flat(self) -> None:
        self.assertEqual(judge(points(3, 0.1), 1, 0).verdict, "flat")

    def test_what_may_be_filled_is_filling(self) -> None:
        self.assertEqual(judge(points(50, 3), 1, 200).verdict, "filling")
        self.assertEqual(judge(points(150, 3), 1, 200).verdict, "growing")

    def test_a_saw_is_flat(self) -> None:
        saw = [(float(at), 100 + 60 * math.fmod(at / 600, 1)) for at in range(0, _HOUR, 5)]
        self.assertEqual(judge(saw, 1, 0).verdict, "flat")

    def test_minutes_are_too_few_to_tell(self) -> None:
        trend = judge(points(500, 1, hours=0.3), 1, 0)
        self.assertEqual(trend.verdict, "too short")

    def test_what_is_too_short_to_judge_has_a_slope_and_its_error_all_the_same(self) -> None:
        trend = judge(points(500, 1, hours=0.25), 1, 0)
        self.assertEqual(trend.verdict, "too short")
        self.assertAlmostEqual(trend.slope_per_hour or 0, 500, delta=5)
        self.assertGreater(trend.error_per_hour or 0, 0)
        self.assertAlmostEqual(trend.added, 500 * 14 / 60, delta=2)
        # As surely as in a run that is long enough: noise alone has an error to match.
        noise = judge(points(0, 30, hours=0.25), 1, 0)
        self.assertLess(abs(noise.slope_per_hour or 99), 3 * (noise.error_per_hour or 0))

    def test_no_slope_is_made_of_one_minute_and_no_error_of_two(self) -> None:
        one, two = judge([(0, 1.0)], 1, 0), judge([(0, 1.0), (60, 2.0)], 1, 0)
        self.assertEqual((one.mean, one.slope_per_hour, one.error_per_hour), (1, None, None))
        self.assertEqual((two.slope_per_hour, two.error_per_hour), (60, None))
        self.assertEqual((one.verdict, two.verdict), ("too short", "too short"))
        self.assertEqual(judge([], 1, 0).slope_per_hour, None)

    def test_a_minute_is_one_point(self) -> None:
        self.assertEqual(minute_means([(0, 1.0), (59, 3.0), (61, 5.0)]), [(29.5, 2.0), (61, 5.0)])


if __name__ == "__main__":
    unittest.main()
