"""A stream's end, whoever brings it about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from taskgate.api import event_stream
from taskgate.api.event_stream import EventStream, event


class Connection:
    """A client: takes `room` pieces and then nothing more; goes away when told."""

    def __init__(self, room: int = 1000) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._room = room

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.sent) > self._room:
            await asyncio.Event().wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b": here\n\n"
        await asyncio.sleep(0.001)


async def two() -> AsyncIterator[bytes]:
    yield event('{"a":1}', kind="start", sequence=1)
    yield event("{}")


async def broken() -> AsyncIterator[bytes]:
    yield b"x"
    raise ValueError("the source broke")


async def run(connection: Connection, pieces: AsyncIterator[bytes]) -> list[bool]:
    done: list[bool] = []
    await EventStream(pieces, lambda: done.append(True))({"type": "http"}, connection.receive, connection.send)
    return done


async def test_it_ends_with_its_source() -> None:
    connection = Connection()
    assert await run(connection, two()) == [True]
    assert connection.body == b'event: start\nid: 1\ndata: {"a":1}\n\ndata: {}\n\n'
    assert connection.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    headers = dict(connection.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in headers


async def test_it_ends_when_the_client_goes() -> None:
    connection = Connection()
    running = asyncio.create_task(run(connection, endless()))
    await asyncio.sleep(0.05)
    connection.left.set()
    assert await asyncio.wait_for(running, 2) == [True]


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SLOWEST", 0.05)
    connection = Connection(room=3)
    assert await asyncio.wait_for(run(connection, endless()), 2) == [True]
    assert connection.sent[-1]["more_body"], "the server is left to break it off"


async def test_a_source_that_breaks_is_not_a_stream_that_ended() -> None:
    connection = Connection()
    with pytest.raises(ValueError, match="the source broke"):
        await run(connection, broken())
    assert connection.sent[-1]["more_body"]
