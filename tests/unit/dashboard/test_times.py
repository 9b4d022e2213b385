from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from taskgate_dashboard.times import clock, length, since, until


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.00031, "0.31 ms"),
        (0.05, "50 ms"),
        (1.4, "1 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 4 * 3600 + 5, "3 d 4 h"),
    ],
)
def test_lengths_as_people_read_them(seconds: float, says: str) -> None:
    assert length(seconds) == says


def test_clocks_are_utc_and_say_so() -> None:
    assert clock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02 01:04:05 UTC"
    assert clock(None) == "—"


def test_past_and_future() -> None:
    assert since(datetime.now(UTC) - timedelta(seconds=61)).startswith("1 min")
    assert until(datetime.now(UTC) + timedelta(hours=2, seconds=5)) == "in 2 h"
    assert until(datetime.now(UTC) - timedelta(seconds=5)) == "over"
