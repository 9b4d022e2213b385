"""A whole Prefect: its server with SQLite, and workers that run flow runs in processes of their own.

with RealPrefect(directory) as prefect:
    prefect.work_pool("pool", "process")
    prefect.start_worker("pool", "process")
    deployment = prefect.deployment("pool", FLOWS / "orders.py", "clean")
    run = prefect.api.run(deployment)
    run.wait("Paused")
    prefect.restart_server()
"""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from taskgate.demo.postgres_server import free_port
from tests.servers.prefect_api import PrefectApi
from tests.servers.prefect_process import PrefectProcess

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(ROOT / root for root in ("gateway_core", "prefect_blocks"))


class RealPrefect:
    """Home, port and log are `directory`'s for all lives of the server. `environment` is what workers have besides,
    `python` an interpreter with another Prefect than this one's: it finds this tree's packages by PYTHONPATH."""

    def __init__(
        self, directory: Path, *, environment: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.api = PrefectApi(self.url)
        self.python = python
        found = PACKAGES if python == sys.executable else (*PACKAGES, _announced(directory / "announced"))
        self.environment = {**_own_environment(found), **_settings(directory / "home", self.url)}
        self.worker_environment = {**self.environment, **(environment or {})}
        command = [python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self.server = PrefectProcess("server", command, self.environment, directory / "server.log")
        self.workers: dict[str, PrefectProcess] = {}

    def __enter__(self) -> RealPrefect:
        try:
            self.start_server()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_server(self, seconds: float = 120) -> None:
        self.server.start()
        self.until(self.api.healthy, seconds)

    def stop_server(self, *, at_once: bool = False) -> None:
        self.server.stop(seconds=0 if at_once else 20)

    def restart_server(self, *, at_once: bool = False) -> None:
        """On the same port and database. `at_once` is SIGKILL."""
        self.stop_server(at_once=at_once)
        self.start_server()

    def start_worker(
        self,
        pool: str,
        kind: str,
        *,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
        make_pool: bool = False,
        seconds: float = 90,
    ) -> PrefectProcess:
        """As `prefect worker start` does. Waits until it polls. `environment` adds to the workers'."""
        name = name or f"worker-{pool}"
        command = [
            self.python, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind, "--name", name,
            "--install-policy", "never", *([] if make_pool else ["--no-create-pool-if-not-found"]),
        ]  # fmt: skip
        worker = PrefectProcess(
            name, command, {**self.worker_environment, **(environment or {})}, self.directory / f"{name}.log"
        )
        self.workers[name] = worker
        worker.start()
        self.until(lambda: f"Worker '{name}' started!" in worker.tail(200_000), seconds)
        return worker

    def stop_worker(self, name: str, *, at_once: bool = False) -> None:
        """With the runs it runs, or has left running. `at_once` is SIGKILL, to all of them."""
        self.workers.pop(name).stop(seconds=0 if at_once else 5)

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop(seconds=5)
        self.workers.clear()
        self.server.stop(seconds=5)
        self.api.close()

    def until(self, done: Callable[[], Any], seconds: float, every: float = 0.2) -> Any:
        """The first true answer; AssertionError with what the processes wrote when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            processes = [self.server, *self.workers.values()]
            for one in processes:
                one.check()
            assert time.monotonic() < deadline, "\n".join(f"=== {one.name}\n{one.tail()}" for one in processes)
            time.sleep(every)
        return found

    def work_pool(self, name: str, kind: str, *, template: Mapping[str, Any] | None = None) -> None:
        """`template`: the process worker's, unless another is given."""
        from prefect.workers.process import ProcessWorker

        self.api.work_pool(name, kind, template or ProcessWorker.get_default_base_job_template())

    def deployment(self, pool: str, file: Path, function: str, *, name: str | None = None, **more: Any) -> str:
        """Of a function of this file whose flow bears its name (`-` for `_`); the file's folder is where it runs."""
        return self.api.deployment(
            name or f"{function}-in-{pool}",
            function.replace("_", "-"),
            entrypoint=f"{file.name}:{function}",
            folder=str(file.parent),
            work_pool=pool,
            **more,
        )


def _settings(home: Path, url: str) -> dict[str, str]:
    """Nothing to anybody outside, and quick to notice."""
    return {
        "PREFECT_HOME": str(home),
        # Their defaults are below the user's own home, whatever PREFECT_HOME says.
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "PYTHONUNBUFFERED": "1",
    }


def _announced(folder: Path) -> Path:
    """What tells an interpreter in which this project is not installed of its entry points."""
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    about = folder / "taskgate-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: taskgate\nVersion: 0\n")
    collections = [f"{name} = {value}\n" for name, value in entry_points["prefect.collections"].items()]
    (about / "entry_points.txt").write_text("[prefect.collections]\n" + "".join(collections))
    return folder


def _own_environment(found: Iterable[Path]) -> dict[str, str]:
    """This process's, without what would configure a Prefect or a gateway, and with these folders first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TASKGATE"))}
    before = [kept["PYTHONPATH"]] if kept.get("PYTHONPATH") else []
    return {**kept, "PYTHONPATH": os.pathsep.join([*map(str, found), *before])}
