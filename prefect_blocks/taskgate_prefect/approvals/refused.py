"""What humans have refused in the runs of this process: Prefect's retries would only ask the same people again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any
from uuid import UUID

from prefect.utilities.hashing import hash_objects

from taskgate_prefect.faults import ApprovalRefused, ApprovalTimeout

_MOST_KEPT = 1024
_Key = tuple[UUID, str]


class Refused:
    """By flow run and what was asked for. A run that is started anew, in another process, asks anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: OrderedDict[_Key, str] = OrderedDict()

    def remember(self, flow_run_id: UUID, asked_for: str | None, refusal: ApprovalRefused) -> None:
        """A timeout is none: the request is still open."""
        if asked_for is None or isinstance(refusal, ApprovalTimeout):
            return
        with self._lock:
            self._refused[flow_run_id, asked_for] = refusal.message
            while len(self._refused) > _MOST_KEPT:
                self._refused.popitem(last=False)

    def check(self, flow_run_id: UUID, asked_for: str | None) -> None:
        """Raises ApprovalRefused where this was refused before."""
        if asked_for is None:
            return
        with self._lock:
            message = self._refused.get((flow_run_id, asked_for))
        if message is not None:
            raise ApprovalRefused(
                f"{message} It is not asked for again in this run.", hint="Retry the flow run to ask again."
            )


in_this_process = Refused()


def fingerprint(*what: Any) -> str | None:
    """Of a statement with its parameters; None where these cannot be told apart. Kept in memory only."""
    return hash_objects(*what)
