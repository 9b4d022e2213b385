"""The control API's server: uvicorn in the gateway's own event loop, told when to start and when to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from taskgate.api.connections import MOST_HEADER_BYTES, bounded
from taskgate.errors import GatewayFault
from taskgate.settings import ApiSettings

_MOST_CONNECTIONS = 1024  # the next is answered 503


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The gateway hears signals itself."""
        yield


class ApiServer:
    def __init__(self, app: FastAPI, settings: ApiSettings) -> None:
        self._settings = settings
        self._server = _Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=3,
                http=bounded(),
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_keep_alive=30,
                limit_concurrency=_MOST_CONNECTIONS,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        for server in self._server.servers:
            for socket in server.sockets:
                number: int = socket.getsockname()[1]
                return number
        return self._settings.port

    async def start(self) -> None:
        """Returns once it listens. Raises GatewayFault where it cannot."""
        self._serving = asyncio.create_task(self._run(), name="control API")
        while not self._server.started:
            if self._serving.done():
                raise GatewayFault(f"The control API cannot listen on {self._settings.host}:{self._settings.port}.")
            await asyncio.sleep(0.01)

    async def _run(self) -> None:
        # uvicorn ends the process where it cannot listen; here that is for the gateway to decide.
        with contextlib.suppress(SystemExit):
            await self._server.serve()

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving:
            await self._serving
