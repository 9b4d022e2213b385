"""The list of open sessions: places under a target's cap are neither lost nor given twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from taskgate.domain import Target
from taskgate.enforcement.live import LiveSessions
from taskgate.enforcement.session import Session
from taskgate.errors import TooManySessions
from tests.unit.policy.builders import ORDERS

SMALL = replace(ORDERS, max_sessions=2)
OTHER = replace(SMALL, name="other-db")


@dataclass
class Entry:
    """Stands in for a session: the list asks it for nothing else."""

    id: str
    target: Target = SMALL
    reasons: list[str] = field(default_factory=list)
    live: LiveSessions | None = None

    def end(self, reason: str) -> None:
        self.reasons.append(reason)
        if self.live is not None:
            self.live.remove(cast(Session, self))


def opened(live: LiveSessions, name: str, target: Target = SMALL) -> Session:
    session = cast(Session, Entry(name, target))
    live.reserve(target)
    live.add(session)
    return session


def free(live: LiveSessions, target: Target = SMALL) -> int:
    """Places left, found out by taking them all and giving them back."""
    taken = 0
    try:
        while True:
            live.reserve(target)
            taken += 1
    except TooManySessions:
        return taken
    finally:
        for _ in range(taken):
            live.release(target)


def test_the_cap_is_the_targets_own() -> None:
    live = LiveSessions()
    opened(live, "a")
    opened(live, "b")
    with pytest.raises(TooManySessions, match="orders-db") as refused:
        live.reserve(SMALL)
    assert refused.value.detail == "limit=2"
    assert refused.value.sqlstate == "53300"
    assert free(live, OTHER) == 2


def test_a_refused_place_is_not_taken() -> None:
    live = LiveSessions()
    for _ in range(2):
        live.reserve(SMALL)
    for _ in range(5):
        with pytest.raises(TooManySessions):
            live.reserve(SMALL)
    live.release(SMALL)
    assert free(live) == 1


def test_a_session_gives_its_place_back_once() -> None:
    live = LiveSessions()
    first, _ = opened(live, "a"), opened(live, "b")
    for _ in range(3):
        live.remove(first)
    assert free(live) == 1
    assert [session.id for session in live] == ["b"]
    assert (live.get("a"), len(live)) == (None, 1)


def test_a_session_that_was_never_added_gives_nothing_back() -> None:
    live = LiveSessions()
    opened(live, "a")
    live.remove(cast(Session, Entry("never")))
    assert free(live) == 1


def test_only_those_that_are_meant_are_ended() -> None:
    live = LiveSessions()
    one, other = opened(live, "a"), opened(live, "b", OTHER)
    assert live.end("killed", lambda session: session.id == "b") == 1
    assert (cast(Entry, one).reasons, cast(Entry, other).reasons) == ([], ["killed"])
    assert live.end("nobody", lambda session: False) == 0


def test_sessions_may_leave_while_they_are_ended() -> None:
    live = LiveSessions()
    for name in "abcdef":
        target = replace(SMALL, name=name)
        live.reserve(target)
        live.add(cast(Session, Entry(name, target, live=live)))
    assert live.end("the gateway is stopping", lambda session: True) == 6
    assert len(live) == 0


async def test_waiting_for_the_last_one() -> None:
    live = LiveSessions()
    assert await live.none_left(5)
    first, second = opened(live, "a"), opened(live, "b")
    assert not await live.none_left(0.01)
    waiting = asyncio.ensure_future(live.none_left(5))
    live.remove(first)
    await asyncio.sleep(0)
    assert not waiting.done()
    live.remove(second)
    assert await waiting


async def test_patience_has_an_end() -> None:
    live = LiveSessions()
    opened(live, "a")
    async with asyncio.timeout(5):
        assert not await live.none_left(0.01)
