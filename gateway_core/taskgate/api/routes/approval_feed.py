"""How approvals end, for those who wait for many of them: a stream of ids and states, and the states of many at once.

Nothing of what is asked is told here, so that a key of the scope `approvals:watch` can be given to a triggerer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from taskgate.api.authentication import Caller, Requires
from taskgate.api.dependencies import Plane
from taskgate.api.event_stream import HEARTBEAT, EventStream, event
from taskgate.api.problems import ApiProblem
from taskgate.approvals.feed import DecisionFeed, Ended, Reader, TooManyReaders
from taskgate.client import models
from taskgate.errors import StoreFault
from taskgate.identity.scopes import Scope

router = APIRouter(tags=["approvals"])
MayWatch = Annotated[Caller, Depends(Requires(Scope.APPROVALS_WATCH))]

HEARTBEAT_EVERY = 2.0
"""Seconds. A client that has heard nothing for a few of them knows that the gateway is gone."""


@router.get("/approvals/watch", response_class=EventStream)
async def watch_approvals(
    plane: Plane,
    caller: MayWatch,
    since: Annotated[int | None, Query(ge=0, le=2**53, description="The last event's number that was seen.")] = None,
) -> EventStream:
    """Server-sent events: first `start`, then one for each approval that ends (approved, denied, expired or withdrawn),
    with its number as `id`. With `since` those after that number come first; where they are no longer all kept, `start`
    says `complete` false: ask for the states. A stream ends when its reader is too slow or its key ends: come back."""
    feed = plane.approvals.feed
    try:
        reader = feed.enter(caller.id)
    except TooManyReaders as fault:
        raise ApiProblem(503, fault.message, code="too_many_streams", headers={"Retry-After": "1"}) from None
    return EventStream(_pieces(feed, reader, since, caller.expires_at), lambda: feed.leave(reader))


async def _pieces(
    feed: DecisionFeed, reader: Reader, since: int | None, until: datetime | None
) -> AsyncIterator[bytes]:
    """Every event once, in order: first what was missed, then what the reader is told."""
    last = reader.start
    if since is not None:
        try:
            complete = await feed.knows_all_since(since)
            yield _start(since if complete else last, complete)
            if complete:
                last = since
                async for page in feed.missed(since):
                    yield b"".join(map(_event, page))
                    last = page[-1].sequence
        except StoreFault:
            return  # the client comes back, and says how far it has got
    else:
        yield _start(last, True)
    while not reader.over and (until is None or datetime.now(UTC) < until):
        news = [ended for ended in await reader.take(HEARTBEAT_EVERY) if ended.sequence > last]
        if news:
            last = news[-1].sequence
        yield b"".join(map(_event, news)) or HEARTBEAT


def _start(sequence: int, complete: bool) -> bytes:
    data = models.WatchStarted(sequence=sequence, complete=complete)
    return event(data.model_dump_json(), kind="start", sequence=sequence)


def _event(ended: Ended) -> bytes:
    data = models.ApprovalEnded(sequence=ended.sequence, id=ended.approval_id, state=ended.state)
    return event(data.model_dump_json(), sequence=ended.sequence)


@router.post("/approvals/states")
async def approval_states(
    asked: models.ApprovalIds, plane: Plane, caller: MayWatch
) -> models.Page[models.ApprovalStanding]:
    """How these stand now. Those that there are not are left out."""
    states = await plane.approvals.states(dict.fromkeys(asked.ids))
    return models.Page(items=[models.ApprovalStanding(id=found, state=state) for found, state in states.items()])
