"""One of Prefect's processes with everything it starts: its server, or a worker with the flow runs it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass
class PrefectProcess:
    """All that it starts shares its session, also when it is gone. Its log is one file for all its lives."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
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
        assert self.process is None or self.running, f"{self.name} ended:\n{self.tail()}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL to it alone: what it started goes on, and is found among `processes` still."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def stop(self, *, seconds: float = 15) -> None:
        """SIGTERM, and SIGKILL after so many seconds; then whatever is left of its session."""
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
        return [] if self.process is None else list(_of_session(self.process.pid))

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


def _of_session(leader: int) -> Iterator[psutil.Process]:
    for one in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(one.pid) == leader and one.status() != psutil.STATUS_ZOMBIE:
                yield one
