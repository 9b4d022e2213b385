"""Messages in a buffer, in both forms."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.speed.forms import both, corrupted, damage


@given(st.lists(st.tuples(st.sampled_from(b"DCZE"), st.binary(max_size=12)), max_size=8), damage)
def test_message_runs(messages: list[tuple[int, bytes]], harm: tuple[int, int, int, bool]) -> None:
    buffer = b"".join(bytes([kind]) + struct.pack("!i", len(body) + 4) + body for kind, body in messages)
    if harm[3]:
        buffer = corrupted(buffer, *harm[:3])
    runs = both("message_runs", buffer, 0, 64)
    end = both("complete_messages", buffer, 0, 64)
    if runs is ValueError:
        assert end is ValueError
        return
    assert isinstance(runs, list)
    assert (runs[-1][2] if runs else 0) == end
    for before, after in pairwise(runs):
        assert before[2] == after[1]
        assert before[0] != after[0]
