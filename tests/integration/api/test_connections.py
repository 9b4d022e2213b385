"""Who opens connections and says little keeps nobody out of the control API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from taskgate.api import connections
from taskgate.api.server import ApiServer
from taskgate.settings import ApiSettings

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(connections, "MOST_WAITING", 20)
    monkeypatch.setattr(connections, "HEADERS_WITHIN", 0.5)
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "alive"

    @app.post("/slow")
    async def slow() -> str:
        await asyncio.sleep(1.5)
        return "done"

    running = ApiServer(app, ApiSettings(port=0))
    await running.start()
    yield running
    await running.stop()


async def say(server: ApiServer, *said: bytes) -> Stream:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for each in said:
        writer.write(each)
    return reader, writer


async def is_closed(stream: Stream, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while await stream[0].read(4096):
                pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


async def test_al_08_connections_that_say_little_keep_nobody_out(server: ApiServer) -> None:
    """Nothing at all, half a request, a request that was answered: whichever, the longest waiting go first."""
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    held = [
        await say(server, said) for said in (b"", b"GET / HTTP/1.1\r\nX:", whole, whole + b"GET") for _ in range(30)
    ]
    await asyncio.sleep(0.1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        for _ in range(3):
            assert (await client.get("/healthz")).json() == "alive"
    assert await is_closed(held[0], 2)
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        (b"",),
        (b"GET / HTTP/1.1\r\nX:",),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX:",),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",),
    ],
)
async def test_al_08_a_request_has_to_come_to_its_point(server: ApiServer, said: tuple[bytes, ...]) -> None:
    stream = await say(server, *said)
    await asyncio.sleep(0.2)
    stream[1].write(b"y")  # a little now and then puts nothing off
    assert await is_closed(stream, 3)


async def test_al_08_headers_without_end_are_refused(server: ApiServer) -> None:
    stream = await say(server, b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 200_000)
    assert await is_closed(stream, 0.4)


async def test_an_answer_takes_as_long_as_it_takes(server: ApiServer) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert (await client.post("/slow")).json() == "done"
        await asyncio.sleep(1)
        assert (await client.get("/healthz")).json() == "alive"  # the same connection, kept meanwhile
