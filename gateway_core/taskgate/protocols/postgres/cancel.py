"""Cancel requests: keys of our own, each belonging to one live session.

A client never learns the target's key. The process id it is shown carries the number of the gateway process that owns
the session in its upper bits, so that a request that reaches another process can be told whose it is. Secrets are
compared in constant time, and a wrong one gets the same silence as an unknown process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable

from taskgate.domain import Target
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.upstream import dial

_OWNER_BITS = 10
_SESSION_BITS = 31 - _OWNER_BITS  # a process id is a positive 32-bit number
_PATIENCE = 5.0

Cancel = Callable[[], Awaitable[None]]


class CancelKeys:
    """The keys of one process's live sessions. `owner`: this process's number, 0 to 1023."""

    def __init__(self, owner: int = 0) -> None:
        if not 0 <= owner < 1 << _OWNER_BITS:
            raise ValueError("a process number has 10 bits")
        self._owner = owner
        self._live: dict[int, tuple[bytes, Cancel]] = {}

    def issue(self, cancel: Cancel) -> tuple[int, bytes]:
        """A process id and a secret under which `cancel` will be called."""
        while True:
            process = self._owner << _SESSION_BITS | secrets.randbelow((1 << _SESSION_BITS) - 1) + 1
            if process not in self._live:
                secret = secrets.token_bytes(4)
                self._live[process] = (secret, cancel)
                return process, secret

    def withdraw(self, process: int) -> None:
        self._live.pop(process, None)

    def find(self, process: int, secret: bytes) -> Cancel | None:
        known, cancel = self._live.get(process, (b"\0" * 4, None))
        return cancel if hmac.compare_digest(known, secret) and cancel is not None else None

    def __len__(self) -> int:
        return len(self._live)


async def cancel_on_target(target: Target, process: int, secret: bytes) -> None:
    """Ask the target to stop what the session does, over a connection of its own. Returns when the target has taken
    note (it closes the connection then), or after a while; errors mean that there is nothing left to cancel."""
    with contextlib.suppress(OSError, TargetFault, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            connection, context = await dial(target)
            name = target.host if context is not None else None
            reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
            try:
                writer.write(startup.cancel_request(process, secret))
                await writer.drain()
                await reader.read(1)
            finally:
                writer.close()
