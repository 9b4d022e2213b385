"""Cancel requests that reach a process which does not own the session: every connection may land at another one.

Such a request is named by a keyed hash of its key and sent to all processes on the store as a control signal. The
owner, who knows the names of its own keys, carries it out. The name tells nothing about the key to whoever reads the
store, and only a process with the installation's approval key can make one. Guesses cost the store little: so many a
second are passed on, few of them from one address, and none while this process is the only one.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable

import structlog

from taskgate.errors import StoreFault
from taskgate.store.signals import SignalKind, Signals

log = structlog.get_logger(__name__)

MOST = 20  # in a second
EACH = 5  # in a second, from one address


class CancelRouting:
    """One a process. `others`: whether other processes are alive."""

    def __init__(self, signals: Signals, key: bytes, others: Callable[[], bool]) -> None:
        self._signals = signals
        self._key = key
        self._others = others
        self._second = time.monotonic()
        self._passed: Counter[str] = Counter()  # in this second, by address
        self._sending: set[asyncio.Task[None]] = set()

    def name(self, process: int, secret: bytes) -> str:
        """What the key is called between processes (HMAC-SHA-256, hex)."""
        return hmac.digest(self._key, process.to_bytes(4, "big", signed=True) + secret, "sha256").hex()

    def listen(self, called: Callable[[str], None]) -> None:
        """`called` gets the name of every key that another process, or this one, was asked to cancel by."""
        self._signals.subscribe(SignalKind.CANCEL_REQUESTED, lambda signal: called(signal.subject))

    def pass_on(self, process: int, secret: bytes, address: str) -> bool:
        """Ask the other processes for the client at `address`; False where there are none, or where too much has been
        asked for in this second."""
        if not self._others() or not self._may(address):
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

    def _may(self, address: str) -> bool:
        now = time.monotonic()
        if now - self._second >= 1:
            self._second = now
            self._passed.clear()
        if self._passed.total() >= MOST or self._passed[address] >= EACH:
            return False
        self._passed[address] += 1
        return True
