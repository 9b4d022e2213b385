"""One of Prefect's processes with everything it starts: its server, or a worker with the flow runs it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil

_MARK = "TESTS_STARTED_BY"


@dataclass
class PrefectProcess:
    """All that it starts shares its session, or (a flow run of Prefect 3.9's) a mark in its environment, also when it
    is gone itself. Its log is one file for all its lives."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False
    mark: str = field(default_factory=lambda: uuid4().hex)

    def start(self) -> None:
        self.killed = False
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env={**self.environment, _MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check(self) -> None:
        """Raises AssertionError where it was started and has ended by itself."""
        assert self.process is None or self.running or self.killed, f"{self.name} ended:\n{self.tail()}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL to it alone: what it started goes on, and is found among `processes` still."""
        assert self.process is not None
        self.killed = True
        self.process.kill()
        self.process.wait(20)

    def stop(self, *, seconds: float = 15) -> None:
        """SIGTERM, and SIGKILL after so many seconds; then whatever is left of what it started."""
        if self.process is None:
            return
        if seconds > 0 and self.running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        for one in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        self.process.wait(20)
        self.process = None

    def processes(self) -> list[psutil.Process]:
        """It and all it has started that still lives."""
        return [one for one in psutil.process_iter() if self._is_of_it(one)]

    def _is_of_it(self, one: psutil.Process) -> bool:
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if self.process is None or one.status() == psutil.STATUS_ZOMBIE:
                return False
            return os.getsid(one.pid) == self.process.pid or one.environ().get(_MARK) == self.mark
        return False

    def of_flow_run(self, flow_run_id: str) -> list[psutil.Process]:
        """The processes that run this flow run: its engine's first, then those of its task runner."""
        found = []
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("PREFECT__FLOW_RUN_ID") == flow_run_id:
                    found.append(one)
        return sorted(found, key=lambda one: one.create_time())

    def tail(self, length: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-length:] if self.log.exists() else ""
