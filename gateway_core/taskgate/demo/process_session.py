"""A process of an orchestrator's with everything it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil  # type: ignore[import-untyped] # Airflow's own requirement

_MARK = "TASKGATE_DEMO_STARTED"


@dataclass
class ProcessSession:
    """All that it starts shares its session, or at least a mark in the environment, also when it is gone: the newest
    Prefect puts each flow run into a session of its own. Its log is one file for all its lives. `name` is what errors
    call it ("Airflow's scheduler")."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    mark: str = field(default_factory=lambda: str(uuid4()))

    def start(self) -> None:
        self.started = datetime.now(UTC)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                env={**self.environment, _MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises RuntimeError where it does not run."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{self.tail()}")

    def terminate(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self, *, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL after so many seconds; then whatever is left of what it started, tasks included."""
        if self.process is None:
            return
        if seconds > 0:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        for one in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        self.process.wait(20)
        self.process = None

    def processes(self) -> list[psutil.Process]:
        """It and all it has started."""
        return [one for one in psutil.process_iter() if self._is_of_it(one)]

    def environments(self) -> list[dict[str, str]]:
        """Of each of its processes that can be asked (one that supervises a task cannot)."""
        found = []
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                found.append(one.environ())
        return found

    def tail(self, length: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-length:] if self.log.exists() else ""

    def _is_of_it(self, one: psutil.Process) -> bool:
        if self.process is None:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(one.pid) == self.process.pid:
                return True
        with contextlib.suppress(psutil.Error):
            return bool(one.environ().get(_MARK) == self.mark)
        return False
