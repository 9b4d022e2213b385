"""The demo's Prefect: a real server, a worker of type `taskgate-process`, and the example's deployment, run once.

The worker alone holds a key of the gateway's, which may register flow runs of its pool and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from taskgate.demo.example import PREFECT
from taskgate.demo.flow_processes import FlowProcesses
from taskgate.demo.forms import PREFECT_POOL, Form
from taskgate.demo.orchestrator import TaskEnd
from taskgate.demo.prefect_rest import TaskRun
from taskgate.demo.prefect_server import PrefectServer
from taskgate.demo.process_session import ProcessSession
from taskgate.demo.stage import Stage

_KEY = "prefect-worker"
_SETTLES = 30.0
_START = 120.0  # seconds; ten where nothing else runs
_ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class WholePrefect:
    """With `server`, which `stage`'s gateway knows already. `stop` leaves the server to whoever started it."""

    def __init__(self, stage: Stage, server: PrefectServer) -> None:
        self.form: Form = stage.form
        self._stage = stage
        self._server = server
        self._key_file = server.directory / "worker.key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(stage.keys[_KEY])
        runs = server.directory / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        environment = {
            **server.environment,
            "TASKGATE_URL": stage.gateway.url,
            "TASKGATE_SOURCE": PREFECT.source,
            "TASKGATE_WORKER_KEY_FILE": str(self._key_file),
            "TMPDIR": str(runs),
        }
        command = [
            sys.executable, "-m", "prefect", "worker", "start", "--pool", PREFECT_POOL, "--type", "taskgate-process",
            "--name", "demo-worker", "--install-policy", "never",
        ]  # fmt: skip
        self._worker = ProcessSession("Prefect's worker", command, environment, server.directory / "worker.log")
        self._blocks_log = server.directory / "blocks.log"
        self._deployment = ""
        self._run = ""
        self._processes: FlowProcesses | None = None

    @property
    def keys_on_workers(self) -> Sequence[str]:
        """Read from the processes of the flow run, all that there were."""
        environments = self._watched.environments
        if not environments:
            raise RuntimeError("no process of the flow run was seen, so its environment cannot be read")
        values = "\n".join(value for environment in environments for value in environment.values())
        return sorted(
            name
            for name, value in self._stage.keys.items()
            if value in values or (name == _KEY and str(self._key_file) in values)
        )

    def prepare(self, say: Callable[[str], None]) -> None:
        say("a real Prefect server is starting (SQLite); half a minute until it is up and has a worker")
        began = time.monotonic()
        self._server.wait()
        say(f"{time.monotonic() - began:.0f} s: the server is up at [bold]{self._server.address}[/]; starting a worker")
        self._worker.start()
        blocks = self._save_blocks()
        try:
            while blocks.poll() is None or not self._server.rest.has_worker(PREFECT_POOL):
                self._check()
                if time.monotonic() - began > _START:
                    raise RuntimeError(f"Prefect has no worker after {_START:.0f} s:\n{self._worker.tail()}")
                time.sleep(0.2)
        finally:
            if blocks.poll() is None:
                blocks.kill()
            blocks.wait()
        if blocks.returncode:
            raise RuntimeError(
                f"the blocks could not be saved:\n{self._blocks_log.read_text(errors='replace')[-3000:]}"
            )
        (deployment,) = yaml.safe_load((PREFECT.folder / "prefect.yaml").read_text())["deployments"]
        self._deployment = self._server.rest.deploy(PREFECT.id, str(PREFECT.folder), deployment)
        say(
            f"{time.monotonic() - began:.0f} s: its worker is up, in pool [bold]{PREFECT_POOL}[/] of type "
            f"taskgate-process; deployed {PREFECT.id}/{deployment['name']}"
        )

    def start(self, say: Callable[[str], None]) -> None:
        self._run = self._server.rest.run(self._deployment)
        self._processes = FlowProcesses(self._worker, self._run)
        self._processes.start()
        say(f"running the flow [bold]{PREFECT.id}[/]: the blocks that it loads hold no password, no address and no key")

    @property
    def running(self) -> bool:
        self._check()
        return self._server.rest.state(self._run)[0] not in _ENDED

    def waiting(self, task_id: str) -> tuple[str | None, int | None]:
        """Once the run is paused, or is suspended and its process has ended."""
        deadline = time.monotonic() + _SETTLES
        while True:
            name, living = self._server.rest.state(self._run)[1], self._watched.living()
            if (name, living) == ("Suspended", 0) or name == "Paused" or time.monotonic() > deadline:
                return name, living
            time.sleep(0.2)

    def tasks(self) -> Mapping[str, TaskEnd]:
        """The last run of each task, with the attempts of all: a flow run that was suspended starts its tasks again,
        and those that had ended find what they had returned. After one that fails the next are never started."""
        runs = self._task_runs()
        if not runs:
            raise RuntimeError(f"the flow run has started no task:\n{self._worker.tail()}")
        ended = {
            last.task: TaskEnd(
                last.state,
                self._stored(last.stored),
                tuple(
                    f"{PREFECT.source}:task-run:{one.id}:{n + 1}"
                    for one in runs
                    if one.task == last.task
                    for n in range(one.run_count)
                ),
            )
            for last in runs
        }
        return {**dict.fromkeys(PREFECT.tasks, TaskEnd("never started", started=False)), **ended}

    def _task_runs(self) -> list[TaskRun]:
        """Of the flow run that is over. The server has them a moment after they end, and never the end of one that was
        left when the flow run was suspended."""
        deadline = time.monotonic() + _SETTLES
        while True:
            runs = self._server.rest.task_runs(self._run)
            last = {one.task: one for one in runs}
            going = [one.task for one in last.values() if one.state not in _ENDED]
            if runs and not going:
                return runs
            if time.monotonic() > deadline:
                if going:
                    raise RuntimeError(f"the flow run is over, and tasks of it are not: {', '.join(going)}")
                return runs
            time.sleep(0.2)

    def task_log(self, task_id: str) -> Sequence[str]:
        runs = {one.id for one in self._server.rest.task_runs(self._run) if one.task == task_id}
        found = [str(one["message"]) for one in self._server.rest.logs(self._run) if one["task_run_id"] in runs]
        return [one for one in found if one.startswith(("Taskgate", "Refused by the gateway"))]

    def log(self) -> str:
        """What the server, the worker and with it the flow run's processes printed."""
        files = (self._server.log_file, self._worker.log, self._blocks_log)
        return "\n".join(one.read_text(errors="replace") for one in files if one.exists())

    def kept(self) -> Mapping[str, bytes]:
        environments = [self._server.environment, self._worker.environment, *self._watched.environments]
        return {
            "Prefect printed": self.log().encode(),
            "its database or a result holds": _contents(self._server.home),
            "its block documents hold": self._server.rest.block_documents().encode(),
            "the environment of its processes holds": json.dumps(environments).encode(),
        }

    @property
    def look_around(self) -> str:
        return (
            f"Prefect is at {self._server.address}; the deployment is {PREFECT.id}/demo, and artifacts of its runs "
            "link to their gateway sessions."
        )

    def stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()
        self._worker.stop(seconds=5)

    @property
    def _watched(self) -> FlowProcesses:
        if self._processes is None:
            raise RuntimeError("the flow was not run")
        return self._processes

    def _save_blocks(self) -> subprocess.Popen[bytes]:
        """As a Prefect user does; without a key, and without the gateway's address."""
        environment = {**self._server.environment, "TASKGATE_DASHBOARD_URL": self._stage.dashboard_url}
        with self._blocks_log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, str(PREFECT.folder / "blocks.py")],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _check(self) -> None:
        self._server.check()
        self._worker.check()

    def _stored(self, key: str | None) -> Any:
        """A result as it is stored, by the serializer `json`; None where none is."""
        file = self._server.home / "storage" / (key or "none")
        return json.loads(json.loads(file.read_text())["result"]) if key and file.is_file() else None


def _contents(folder: Path) -> bytes:
    """Of all files in it, but those of Prefect's pages."""
    files = [one for one in folder.rglob("*") if one.is_file() and "ui" not in one.relative_to(folder).parts]
    return b"\n".join(one.read_bytes() for one in files)
