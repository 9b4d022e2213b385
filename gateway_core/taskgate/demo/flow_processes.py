"""The processes of one flow run, as the machine shows them: how many there are, and what they were started with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped] # Airflow's own requirement

from taskgate.demo.process_session import ProcessSession

_EVERY = 0.3  # seconds between looks; a process of a flow run lives for several


class FlowProcesses:
    """Of the flow run `flow_run_id`, below the worker that starts them. Looks from `start` to `stop`."""

    def __init__(self, worker: ProcessSession, flow_run_id: str) -> None:
        self._worker = worker
        self._flow_run_id = flow_run_id
        self._seen: dict[int, dict[str, str]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(5)

    @property
    def environments(self) -> Sequence[dict[str, str]]:
        """Of each process that was seen, gone or not."""
        return list(self._seen.values())

    def living(self) -> int:
        """How many there are now."""
        return len(self._look())

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._seen.update(self._look())

    def _look(self) -> dict[int, dict[str, str]]:
        found = {}
        for one in self._worker.processes():
            with contextlib.suppress(psutil.Error):
                environment = one.environ()
                if environment.get("PREFECT__FLOW_RUN_ID") == self._flow_run_id:
                    found[one.pid] = environment
        return found
