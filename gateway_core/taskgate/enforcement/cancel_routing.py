"""Cancel requests that reach a process which does not own the session: every connection may land at another one.

Such a request is named by a keyed hash of its key and sent to all processes on the store as a control signal. The
owner, who knows the names of its own keys, carries it out. The name tells nothing about the key to whoever reads the
store, and only a process with the installation's approval key can make one. Guesses cost the store little: so many a
second are passed on, and none while this process is the only one.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable

import structlog

from taskgate.errors import StoreFault
from taskgate.store.signals import SignalKind, Signals

log = structlog.get_logger(__name__)

_BURST = 20.0
_A_SECOND = 10.0


class CancelRouting:
    """One a process. `others`: whether other processes are alive."""

    def __init__(self, signals: Signals, key: bytes, others: Callable[[], bool]) -> None:
        self._signals = signals
        self._key = key
        self._others = others
        self._left = _BURST
        self._refilled = time.monotonic()
        self._sending: set[asyncio.Task[None]] = set()

    def name(self, process: int, secret: bytes) -> str:
        """What the key is called between processes (HMAC-SHA-256, hex)."""
        return hmac.digest(self._key, process.to_bytes(4, "big", signed=True) + secret, "sha256").hex()

    def listen(self, called: Callable[[str], None]) -> None:
        """`called` gets the name of every key that another process, or this one, was asked to cancel by."""
        self._signals.subscribe(SignalKind.CANCEL_REQUESTED, lambda signal: called(signal.subject))

    def pass_on(self, process: int, secret: bytes) -> bool:
        """Ask the other processes; False where there are none, or where too many have been asked for already."""
        if not self._others() or not self._may():
            return False
        task = asyncio.get_running_loop().create_task(self._send(self.name(process, secret)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return True

    async def _send(self, name: str) -> None:
        try:
            await self._signals.send(SignalKind.CANCEL_REQUESTED, name)
        except StoreFault as fault:
            log.warning("cancel.not_passed_on", reason=fault.message)

    def _may(self) -> bool:
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._refilled) * _A_SECOND)
        self._refilled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
