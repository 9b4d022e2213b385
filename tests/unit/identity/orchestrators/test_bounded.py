"""An answer without end costs its bounds: no memory, no time, and nothing is unpacked."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from taskgate.identity.orchestrators.airflow import account, signing_keys
from taskgate.identity.orchestrators.airflow.signing_keys import RemoteKeySet
from taskgate.identity.orchestrators.bounded import TooLarge, bounded
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.secrets.secret import Secret
from taskgate.settings_airflow import AirflowSettings

PIECE = b" " * 1024


class Endless(httpx.AsyncByteStream):
    """A body that never stops; counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += len(PIECE)
            yield PIECE

    async def aclose(self) -> None:
        self.closed = True


def serving(body: Endless) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body)))


async def test_an_endless_answer_is_left_at_its_bound() -> None:
    body = Endless()
    async with serving(body) as client:
        with pytest.raises(TooLarge, match="10000"):
            await bounded(client, "GET", "https://airflow/jwks.json", 10_000)
    assert body.taken <= 10_000 + len(PIECE)
    assert body.closed


@asynccontextmanager
async def server(*answer: bytes, every: float = 0.0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each request with these pieces, one `every` so many seconds. Gives its url, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in answer:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(every)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/", asked
    finally:
        made.close()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "gzip, identity", "x"])
async def test_a_packed_answer_is_refused_and_never_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(100_000_000), 1)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with server(head.encode(), bomb) as (url, asked), httpx.AsyncClient() as client:
        with pytest.raises(httpx.DecodingError):
            await bounded(client, "GET", url, 1_000_000_000)
    assert b"accept-encoding: identity\r\n" in asked[0].lower()


async def test_headers_are_sent_along_and_no_packing_is_asked_for() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"
    async with server(answer) as (url, asked), httpx.AsyncClient() as client:
        found = await bounded(client, "GET", url, 100, headers={"Authorization": "Bearer x"})
    assert found.json() == {}
    sent = asked[0].lower().split(b"\r\n")
    assert b"authorization: bearer x" in sent
    assert [line for line in sent if line.startswith(b"accept-encoding")] == [b"accept-encoding: identity"]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
    ],
)
async def test_an_answer_that_drips_is_left_at_its_deadline(head: bytes) -> None:
    drops = [b"1\r\na\r\n"] * 10_000 if b"chunked" in head else [b"a"] * 10_000
    began = time.monotonic()
    async with server(head, *drops, every=0.05) as (url, _), httpx.AsyncClient(timeout=0.3) as client:
        async with asyncio.timeout(5):
            with pytest.raises(httpx.ReadTimeout):
                await bounded(client, "GET", url, 1_000_000)
    assert 0.5 < time.monotonic() - began < 3


async def test_one_that_waits_without_end_is_let_wait() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with server(answer) as (url, _), httpx.AsyncClient(timeout=None) as client:
        assert (await bounded(client, "GET", url, 100)).json() == {}


async def test_an_airflow_that_answers_without_end_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "_MOST_BYTES", 10_000)
    monkeypatch.setattr(account, "_MOST_BYTES", 10_000)

    async def password(_: str) -> Secret:
        return Secret("canary-password")

    settings = AirflowSettings(
        source="prod", url="https://airflow.example", username="taskgate", password="env:P", public_key="unused.pem"
    )
    async with serving(Endless()) as client:
        with pytest.raises(OrchestratorAway, match="TooLarge"):
            await RemoteKeySet("https://airflow/jwks.json", client).find("a")
        with pytest.raises(OrchestratorAway, match="TooLarge"):  # the sign-in
            await account.AirflowAccount(settings, password, client).get("/dags/x")
