"""Why a task was refused, from the API server to the task's log.

Airflow drops the body of a refusal on its way to the worker, which is left with "Access denied". So the API server
keeps the reason, and the worker's secrets backend asks for it as for a variable, proven by the same token: a task reads
what was said of its own attempt, nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

_KEY = "taskgate:refusal:"


def reason_key(conn_id: str) -> str:
    """The variable to ask for."""
    return _KEY + conn_id


def asked_for(variable: str) -> str | None:
    """The connection whose refusal `variable` asks for; None for any other variable."""
    return variable.removeprefix(_KEY) if variable.startswith(_KEY) else None


class RefusalReasons:
    """The last reason by attempt and connection, at most `most` of them. Thread-safe."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, attempt_id: str, conn_id: str, reason: str) -> None:
        with self._lock:
            self._kept.pop((attempt_id, conn_id), None)
            self._kept[attempt_id, conn_id] = reason
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def find(self, attempt_id: str, conn_id: str) -> str | None:
        with self._lock:
            return self._kept.get((attempt_id, conn_id))
