"""How a worker reaches the gateway: what its environment says, and the key taken out of it.

Prefect's process worker starts flow runs with its own environment, and runs some of their hooks in its own process: the
key is read once, removed from the environment, and the process hides its memory from others of its user.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from taskgate import core_dumps
from taskgate.errors import TaskgateError
from taskgate_prefect.run_environment import CA_FILE, RUN_SECRET, RUN_TOKEN, SOURCE, URL

KEY = "TASKGATE_WORKER_KEY"
KEY_FILE = "TASKGATE_WORKER_KEY_FILE"
RUN_URL = "TASKGATE_RUN_URL"
RUN_CA_FILE = "TASKGATE_RUN_CA_FILE"
_NOT_FOR_RUNS = (KEY, KEY_FILE, RUN_URL, RUN_CA_FILE, RUN_SECRET, RUN_TOKEN)
_THE_WORKERS_TO_GIVE = (*_NOT_FOR_RUNS, URL, CA_FILE, SOURCE)


class WorkerNotConfigured(TaskgateError):
    """The worker's environment does not say where the gateway is, who this Prefect is there, or by which key to ask."""


@dataclass(frozen=True, slots=True)
class WorkerAccess:
    """Where the control API is and the worker's own key (scope `runs:register`), or the file it is read from each time,
    so that a new key is picked up. `run_url` and `run_ca_file` are what its runs are told, where they reach the gateway
    another way. None of it comes from Prefect: who can write a work pool or a deployment must choose neither where the
    key is sent nor where a run's secret is."""

    url: str
    source: str
    ca_file: str | None = None
    key_file: str | None = None
    run_url: str | None = None
    run_ca_file: str | None = None
    _key: str | None = field(default=None, repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a worker's key is not pickled")

    def key(self) -> str:
        """Read now. Raises WorkerNotConfigured."""
        if self._key is not None:
            return self._key
        try:
            key = Path(self.key_file or "").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WorkerNotConfigured(f"cannot read the worker's key from {self.key_file} ({KEY_FILE})") from error
        if not key:
            raise WorkerNotConfigured(f"{self.key_file} ({KEY_FILE}) is empty: it must hold the worker's key")
        return key


_lock = threading.Lock()
_taken: WorkerAccess | None = None


def worker_access() -> WorkerAccess:
    """This process' own. The first call takes it out of the environment. Raises WorkerNotConfigured."""
    global _taken
    with _lock:
        if _taken is None:
            _taken = _take()
        return _taken


def _take() -> WorkerAccess:
    missing = [name for name in (URL, SOURCE) if not os.environ.get(name)]
    if not os.environ.get(KEY) and not os.environ.get(KEY_FILE):
        missing.append(f"{KEY_FILE} or {KEY}")
    if missing:
        raise WorkerNotConfigured(f"this worker's environment lacks {', '.join(missing)}")
    core_dumps.hide()
    environment = os.environ
    access = WorkerAccess(
        environment[URL],
        environment[SOURCE],
        environment.get(CA_FILE) or None,
        environment.get(KEY_FILE) or None,
        environment.get(RUN_URL) or None,
        environment.get(RUN_CA_FILE) or None,
        environment.get(KEY) or None,
    )
    for name in _NOT_FOR_RUNS:
        environment.pop(name, None)
    return access


def without_the_workers(environment: dict[str, str | None]) -> dict[str, str | None]:
    """What a deployment or work pool gives its runs, without what is for a worker alone to give."""
    return {name: value for name, value in environment.items() if name not in _THE_WORKERS_TO_GIVE}
