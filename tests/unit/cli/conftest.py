from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from taskgate.api.app import create_app
from taskgate.cli.root import app
from tests.unit.api.conftest import migrated_store
from tests.unit.api.control_plane import Plane

__all__ = ["migrated_store"]

Cli = Callable[..., Result]


class Running:
    """The real API on a loopback port, in a thread of its own: what the remote commands speak to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready: Future[tuple[Plane, int]] = Future()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.plane, port = self._ready.result(30)
        self.url = f"http://127.0.0.1:{port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        plane = await Plane.create(self._directory)
        config = uvicorn.Config(create_app(plane), host="127.0.0.1", port=0, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        signals = asyncio.create_task(plane.signals.run())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self._ready.set_result((plane, self._server.servers[0].sockets[0].getsockname()[1]))
        await serving
        signals.cancel()
        await asyncio.gather(signals, return_exceptions=True)  # it may hold a connection
        await plane.database.close()

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def running(tmp_path: Path, migrated_store: Path) -> Iterator[Running]:
    shutil.copy(migrated_store, tmp_path)
    with capture_logs():  # the server's log would stand among what the commands print
        running = Running(tmp_path)
        yield running
        running.stop()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "API_KEY", "API_KEY_FILE", "CA_FILE", "CONFIG"):
        monkeypatch.delenv(f"TASKGATE_{name}", raising=False)


@pytest.fixture
def cli() -> Cli:
    """Runs a command line; stdout and stderr apart."""

    def run(*arguments: str, **settings: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), **settings)

    return run


POLICY = """\
version: 1
rules:
  - {id: nothing, match: {targets: [orders-db], effects: [sql.select]}, verdict: deny}
"""

CONFIG = """\
data_dir: data
policy: [policy.yaml]
public_url: http://127.0.0.1:1
targets:
  - {name: orders-db, host: 127.0.0.1, port: 1, database: orders, user: app, secret: "file:orders.secret", tls: disable}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with everything it names."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    secret = tmp_path / "orders.secret"
    secret.touch(0o600)
    secret.write_text("canary-password")
    path = tmp_path / "taskgate.yaml"
    path.write_text(CONFIG)
    return path
