"""A process of an orchestrator's with everything it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped] # Airflow's own requirement, and Prefect's worker's


@dataclass
class ProcessSession:
    """It leads a session that all it starts shares, also when it is gone. Its log is one file for all its lives.
    `name` is what errors call it ("Airflow's scheduler")."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def start(self) -> None:
        self.started = datetime.now(UTC)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                env=self.environment,
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
        """SIGTERM, and SIGKILL after so many seconds; then whatever is left of its session, tasks included."""
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
        return [] if self.process is None else list(_of_session(self.process.pid))

    def environments(self) -> list[dict[str, str]]:
        """Of each of its processes that can be asked (one that supervises a task cannot)."""
        found = []
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                found.append(one.environ())
        return found

    def tail(self, length: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-length:] if self.log.exists() else ""


def _of_session(leader: int) -> Iterator[psutil.Process]:
    """What it starts may lead a process group of its own, but stays in its session."""
    for one in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(one.pid) == leader:
                yield one
