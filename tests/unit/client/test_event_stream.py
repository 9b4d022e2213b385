from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from taskgate.client import ApprovalEnded, AsyncClient, NotPermitted, UnexpectedAnswer, WatchStarted
from taskgate.client.event_stream import approval_events
from taskgate.domain import ApprovalState

STREAM = """\
event: start
id: 7
data: {"sequence":7,"complete":true}

: here

id: 9
data: {"sequence":9,"id":"apr_1","state":"approved"}

event: something-new
data: {"sequence":10}

data: {"sequence":11,"id":"apr_2","state":"denied","more":1}

data: {"sequence":12,"id":"apr_3","state":"approved"}
"""


async def lines(text: str) -> AsyncIterator[str]:
    for line in text.splitlines():
        yield line


async def test_events_are_read_and_the_rest_is_passed_over() -> None:
    """Comments, kinds that are not known, and an event that breaks off before its empty line."""
    assert [event async for event in approval_events(lines(STREAM))] == [
        WatchStarted(sequence=7, complete=True),
        ApprovalEnded(sequence=9, id="apr_1", state=ApprovalState.APPROVED),
        ApprovalEnded(sequence=11, id="apr_2", state=ApprovalState.DENIED),
    ]


@pytest.mark.parametrize("data", ["nonsense", "{}", '{"sequence":1,"id":"apr_1","state":"perhaps"}'])
async def test_what_is_no_event_is_said(data: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="not what this client version understands"):
        [event async for event in approval_events(lines(f"data: {data}\n\n"))]


def gateway(*answers: httpx.Response, asked: list[str]) -> AsyncClient:
    left = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.query, "ascii"))
        return left.pop(0)

    return AsyncClient("http://127.0.0.1:1", "key", transport=httpx.MockTransport(handler))


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def problem(status: int) -> httpx.Response:
    return httpx.Response(
        status, json={"title": "no", "status": status}, headers={"content-type": "application/problem+json"}
    )


async def test_watching_goes_on_where_it_stopped_until_it_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection ends, two fail, a page of a proxy's comes, one streams; then the key is no longer good."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("taskgate.client.asynchronous.asyncio.sleep", pause)
    asked: list[str] = []
    again = 'event: start\ndata: {"sequence":11,"complete":true}\n\n'
    proxy = httpx.Response(200, text="<html>")
    async with gateway(
        stream(STREAM), problem(503), problem(500), proxy, stream(again), problem(403), asked=asked
    ) as client:
        seen = []
        with pytest.raises(NotPermitted):
            async for event in client.watch_approvals():
                seen.append(event.sequence)
    assert seen == [7, 9, 11, 11]
    assert asked == ["", *["since=11"] * 5]
    assert len(pauses) == 5
    assert max(pauses) <= 4.0


async def test_many_states_are_asked_for_in_several_calls() -> None:
    bodies: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(200, json={"items": [{"id": f"apr_{len(bodies)}", "state": "denied"}]})

    async with AsyncClient("http://127.0.0.1:1", "key", transport=httpx.MockTransport(handler)) as client:
        assert await client.approval_states([]) == {}
        states = await client.approval_states([f"apr_{number}" for number in range(501)])
    assert states == {"apr_1": ApprovalState.DENIED, "apr_2": ApprovalState.DENIED}
    assert bodies[1] == b'{"ids":["apr_500"]}'
