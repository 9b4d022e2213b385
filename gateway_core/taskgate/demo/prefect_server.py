"""The demo's Prefect server: SQLite, a home and a port of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from taskgate.demo.postgres_server import free_port
from taskgate.demo.prefect_rest import PrefectRest
from taskgate.demo.process_session import ProcessSession

_START = 180.0  # seconds; ten where nothing else runs


class PrefectServer:
    """Its address is known before it is there: the gateway that is to know it starts beside it. `environment` is what
    everything of this Prefect has."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.home = directory / "home"
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.url = f"{self.address}/api"
        self.rest = PrefectRest(self.url)
        self.environment = {**_own_environment(), **prefect_settings(self.home, self.url)}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self._session = ProcessSession("Prefect's server", command, self.environment, directory / "server.log")

    @property
    def log_file(self) -> Path:
        return self._session.log

    def start(self) -> None:
        """Returns at once; `wait` says when it answers."""
        self._session.start()

    def wait(self) -> None:
        """Returns once it answers. Raises RuntimeError with the end of its log."""
        began = time.monotonic()
        while not self.rest.healthy():
            self._session.check()
            if time.monotonic() - began > _START:
                raise RuntimeError(f"Prefect's server is not up after {_START:.0f} s:\n{self._session.tail()}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises RuntimeError where it does not run."""
        self._session.check()

    def stop(self) -> None:
        self.rest.close()
        self._session.stop(seconds=5)


def prefect_settings(home: Path, url: str) -> Mapping[str, str]:
    """Nothing to anybody outside, all files in `home`, and quick to notice what happens."""
    return {
        "PREFECT_HOME": str(home),
        # Their defaults are below the user's own home, whatever PREFECT_HOME says.
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "PREFECT_LOGGING_COLORS": "false",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _own_environment() -> dict[str, str]:
    """This process's, without what would configure another Prefect or gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TASKGATE"))}
