"""What is prepared for a session before the store has let it in, and that none of it stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.errors import GatewayFault, TargetFault
from taskgate.protocols.postgres.reach import Approach
from tests.servers.gate import loopback_target


class Listening:
    """A target that says nothing; `gone` holds what each connection sent until it was closed."""

    def __init__(self) -> None:
        self.gone: list[bytes] = []
        self.port = 0

    async def __aenter__(self) -> Listening:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gone.append(await reader.read())
        writer.close()


def approach(port: int, secret: Callable[[], str] = lambda: "password", host: str = "127.0.0.1") -> Approach:
    async def target_secret(_: object) -> str:
        await asyncio.sleep(0)
        return secret()

    service: Any = SimpleNamespace(gate=SimpleNamespace(target_secret=target_secret))
    session: Any = SimpleNamespace(target=replace(loopback_target(port), host=host))
    return Approach(service, session)


def fails() -> str:
    raise GatewayFault("no such file")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_password_and_connection_are_the_callers(host: str) -> None:
    async with Listening() as target:
        made = approach(target.port, host=host)
        password, connection, context = await made.arrive()
        assert (password, context) == ("password", None)
        made.give_up()
        await asyncio.sleep(0.05)
        connection.sendall(b"still open")
        connection.close()
        await until(lambda: target.gone == [b"still open"])


@pytest.mark.parametrize("waited", [0.0, 0.05])
async def test_what_nobody_took_is_closed_unused(waited: float) -> None:
    async with Listening() as target:
        made = approach(target.port)
        await asyncio.sleep(waited)
        made.give_up()
        made.give_up()
        await asyncio.sleep(0.05)
        assert set(target.gone) <= {b""}  # where it was given up at once, it may never have arrived
        assert len(target.gone) == 1 or not waited


async def test_faults_come_out_where_they_are_waited_for_and_nowhere_else() -> None:
    loop = asyncio.get_running_loop()
    noise: list[object] = []
    loop.set_exception_handler(lambda _, context: noise.append(context))
    async with Listening() as target:
        made = approach(target.port, fails)
        with pytest.raises(GatewayFault, match="no such file"):
            await made.arrive()
        made.give_up()
        await until(lambda: target.gone == [b""])
        port = target.port
    made = approach(port)
    with pytest.raises(TargetFault, match="out of reach"):
        await made.arrive()
    made.give_up()
    made = approach(port, fails)
    await asyncio.sleep(0.05)
    made.give_up()
    del made
    await asyncio.sleep(0.05)
    assert noise == []
