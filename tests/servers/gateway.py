"""A PostgreSQL listener on a thread of its own, so that blocking clients and programs can talk to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.listener import Listener, serve
from taskgate.protocols.postgres.tls import ServerTls
from tests.servers.gate import PASSWORD, USER, ScriptedGate

T = TypeVar("T")


class RunningGateway:
    def __init__(self, gate: ScriptedGate, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self.gate = gate
        self.loop = loop
        self.listener = listener
        self.port = listener.port

    def dsn(self, database: str | None = None, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        where = f"127.0.0.1:{self.port}/{database or self.gate.target.name}"
        return f"postgresql://{USER}:{PASSWORD}@{where}{'?' + query if query else ''}"

    def call(self, function: Callable[[], T]) -> T:
        """Run something on the gateway's loop."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def run() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    @property
    def session(self) -> Any:
        """The newest one."""
        return self.gate.sessions[-1]


@contextmanager
def running_gateway(
    gate: ScriptedGate, *, tls: ServerTls | None = None, limits: Limits | None = None
) -> Iterator[RunningGateway]:
    started: asyncio.Queue[Any] | None = None
    ready = threading.Event()
    holder: dict[str, Any] = {}

    async def main() -> None:
        holder["stop"] = asyncio.Event()
        holder["loop"] = asyncio.get_running_loop()
        listener = await serve(gate, "127.0.0.1", 0, tls=tls, limits=limits)
        holder["listener"] = listener
        ready.set()
        await holder["stop"].wait()
        await listener.close()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            holder["error"] = error
            ready.set()
            raise

    del started
    thread = threading.Thread(target=run, name="gateway", daemon=True)
    thread.start()
    assert ready.wait(10), "the gateway did not start"
    if "error" in holder:
        raise holder["error"]
    try:
        yield RunningGateway(gate, holder["loop"], holder["listener"])
    finally:
        holder["loop"].call_soon_threadsafe(holder["stop"].set)
        thread.join(10)
