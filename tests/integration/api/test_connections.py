"""Who opens connections and says little keeps nobody out of the control API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from taskgate.api import connections
from taskgate.api import server as api_server
from taskgate.api.app import create_app
from taskgate.api.server import ApiServer
from taskgate.identity.scopes import Scope
from taskgate.settings import ApiSettings
from tests.unit.api.control_plane import Plane

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(connections, "MOST_WAITING", 20)
    monkeypatch.setattr(connections, "HEADERS_WITHIN", 0.5)
    monkeypatch.setattr(connections, "BODY_WITHIN", 0.5)
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "alive"

    @app.post("/slow")
    async def slow() -> str:
        await asyncio.sleep(1.5)
        return "done"

    @app.post("/length")
    async def length(request: Request, after: float = 0) -> int:
        await asyncio.sleep(after)
        return len(await request.body())

    @app.post("/refused", status_code=401)
    async def refused() -> None:
        """Answers before the body is there."""

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


POST = b"POST /length HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        POST + b"Content-Length: 1000\r\n\r\nx",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n3e8\r\n",
        POST + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        POST + b"Content-Length: 1\r\n\r\nx" + POST + b"Content-Length: 1000\r\n\r\nx",
    ],
    ids=["length", "chunked", "expect", "pipelined"],
)
async def test_al_08_a_body_has_to_come_to_its_end(server: ApiServer, said: bytes) -> None:
    stream = await say(server, said)
    closed = asyncio.create_task(is_closed(stream, 2))
    for _ in range(4):
        await asyncio.sleep(0.1)
        stream[1].write(b"y")  # a little now and then puts nothing off
    assert await closed


async def test_al_08_an_answer_before_the_end_of_the_body_leaves_no_place_held(server: ApiServer) -> None:
    stream = await say(server, POST.replace(b"length", b"refused") + b"Content-Length: 1000\r\n\r\nx")
    assert b" 401 " in await stream[0].readline()
    assert await is_closed(stream, 2)


async def test_al_08_a_body_too_large_leaves_no_place_held(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_WITHIN", 0.5)
    running = ApiServer(create_app(plane), ApiSettings(port=0))
    await running.start()
    stream = await say(running, POST + b"Content-Length: 99999999\r\n\r\nx")
    assert b" 413 " in await stream[0].readline()
    assert await is_closed(stream, 2)
    await running.stop()


async def test_al_08_a_key_is_no_leave_to_keep_others_out(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_WAITING", 20)
    monkeypatch.setattr(api_server, "_MOST_CONNECTIONS", 200)
    key = await plane.key("someone", Scope.RECORDS_READ)
    running = ApiServer(create_app(plane), ApiSettings(port=0))
    await running.start()
    said = (
        f"POST /v1/policy/explain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\nx"
    )
    held = [await say(running, said.encode()) for _ in range(300)]
    await asyncio.sleep(0.5)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client:
        for _ in range(3):
            assert (await client.get("/healthz")).status_code == 200
    assert await is_closed(held[0], 2)
    for _, writer in held:
        writer.close()
    await running.stop()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_slow_body_that_ends_in_time_is_served(server: ApiServer, chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 6"
    reader, writer = await say(server, POST + framing + b"\r\n\r\n")
    for _ in range(6):
        await asyncio.sleep(0.05)
        writer.write(b"1\r\nx\r\n" if chunked else b"x")
    writer.write(b"0\r\n\r\n" if chunked else b"")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    assert b" 200 " in answer
    assert await reader.readexactly(1) == b"6"
    writer.close()


async def test_a_body_that_the_application_has_not_taken_is_no_fault_of_the_client(server: ApiServer) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        answer = await client.post("/length?after=1.2", content=bytes(16 * 1024**2))
    assert answer.json() == 16 * 1024**2


async def test_nor_is_one_that_waits_for_100_continue(server: ApiServer) -> None:
    expects = POST.replace(b"length", b"length?after=1.2") + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    reader, writer = await say(server, expects)
    assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
    writer.write(b"yes")
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    writer.close()
