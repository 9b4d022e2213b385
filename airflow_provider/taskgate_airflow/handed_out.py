"""What this process has handed out: asked for once an attempt and connection, again when it nears its end."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from taskgate_airflow.mapping import MappedConnection, MappingError
from taskgate_airflow.rewriting import ConnectionFields, rewritten

if TYPE_CHECKING:
    from taskgate.client import IssuedCredential

_RENEW_BEFORE = 60.0
_KEPT = 300.0  # seconds: whoever revokes one in the middle of an attempt does not stop the attempt for good
_FOR_CALLBACKS = 60.0  # what the gateway gives those of an attempt whose end was told


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A connection's fields with the credential in them. `renew_at`: on this machine's monotonic clock, so that a clock
    that differs from the gateway's hands out nothing that has expired."""

    fields: ConnectionFields = field(repr=False)
    credential_id: str
    renew_at: float

    @classmethod
    def of(cls, mapped: MappedConnection, credential: IssuedCredential) -> HandedOut:
        """Raises MappingError where the mapping does not fit the target's protocol."""
        if mapped.protocol is not None and mapped.protocol != credential.protocol:
            raise MappingError(
                f"target {mapped.target} speaks {credential.protocol}, and the connection is for {mapped.protocol}"
            )
        ends_at = min(credential.expires_at, credential.confined_until or credential.expires_at)
        lifetime = max(0.0, (ends_at - credential.issued_at).total_seconds())
        renew_at = time.monotonic() + min(lifetime - min(_RENEW_BEFORE, lifetime / 10), _KEPT)
        return cls(rewritten(mapped, credential), credential.id, renew_at)


class HandedOutConnections:
    """By attempt and connection id, at most `most` of them: the longest unused is forgotten first (its credential lives
    on, and the next request gets another). Thread-safe; threads that want the same one ask the gateway once."""

    def __init__(self, most: int = 2000) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], HandedOut] = OrderedDict()
        self._asking: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def find(self, attempt_id: str, conn_id: str) -> HandedOut | None:
        """What was handed out and is not near its end."""
        with self._lock:
            found = self._kept.get((attempt_id, conn_id))
            if found is None or time.monotonic() >= found.renew_at:
                return None
            self._kept.move_to_end((attempt_id, conn_id))
            return found

    def get(self, attempt_id: str, conn_id: str, ask: Callable[[], HandedOut]) -> HandedOut:
        """What was handed out, else what `ask` gets; its exceptions are the caller's."""
        key = (attempt_id, conn_id)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        try:
            with asking:
                return self.find(attempt_id, conn_id) or self.keep(attempt_id, conn_id, ask())
        finally:
            with self._lock:
                self._asking.pop(key, None)

    def keep(self, attempt_id: str, conn_id: str, handed: HandedOut) -> HandedOut:
        with self._lock:
            self._kept[attempt_id, conn_id] = handed
            self._kept.move_to_end((attempt_id, conn_id))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return handed

    def forget(self, attempt_id: str) -> None:
        """What this attempt was given."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == attempt_id]:
                del self._kept[key]

    def ending(self, attempt_id: str) -> None:
        """The attempt told its end: what it was given ends with its callbacks' time. Who asks later is told why."""
        at = time.monotonic() + _FOR_CALLBACKS
        with self._lock:
            for key, handed in self._kept.items():
                if key[0] == attempt_id and handed.renew_at > at:
                    self._kept[key] = replace(handed, renew_at=at)

    def take_all(self) -> list[HandedOut]:
        """Everything, and forget it."""
        with self._lock:
            taken = list(self._kept.values())
            self._kept.clear()
        return taken
