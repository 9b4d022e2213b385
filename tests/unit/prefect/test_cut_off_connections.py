"""Whether a pooled connection still leads to the gateway (`engines.py`). That a run goes on after the gateway was
restarted meanwhile is shown in `tests/e2e/test_prefect_restarts.py`."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest

from taskgate_prefect.engines import _is_cut_off


@dataclass
class OfAsyncpg:
    """Says so itself."""

    closed: bool

    def is_closed(self) -> bool:
        return self.closed


def test_a_connection_that_was_closed_at_the_other_end_is_noticed_without_asking() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not _is_cut_off(ours)
        theirs.close()
        assert _is_cut_off(ours)


@pytest.mark.parametrize("closed", [True, False])
def test_asyncpg_is_asked(closed: bool) -> None:
    assert _is_cut_off(OfAsyncpg(closed)) is closed
