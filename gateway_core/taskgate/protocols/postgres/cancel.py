"""Cancel requests: keys of our own, each belonging to one live session.

A client never learns the target's key. The process id it is shown carries the number of the gateway process that owns
the session in its upper bits, so that a request that reaches another process can be passed on to it (`Elsewhere`).
Secrets are compared in constant time, by the owner only, and a wrong one gets the same silence as an unknown process
id. They have four bytes, as protocol 3.0 has room for, or 32 from 3.2 on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol

from taskgate.domain import Target
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.upstream import dial

_OWNER_BITS = 10
_SESSION_BITS = 31 - _OWNER_BITS  # a process id is a positive 32-bit number
_SHORT, _LONG = 4, 32
UNKNOWN_KEY = "cancel request without a matching session"
_PATIENCE = 5.0

Cancel = Callable[[], Awaitable[None]]


class Elsewhere(Protocol):
    """The other gateway processes."""

    async def forward(self, owner: int, key: bytes, address: str) -> bool:
        """Pass a key on that came from the client at `address`. False where nobody could get it."""


class CancelKeys:
    """The keys of one process's live sessions. `owner`: this process's number, 0 to 1023."""

    def __init__(self, owner: int = 0) -> None:
        if not 0 <= owner < 1 << _OWNER_BITS:
            raise ValueError("a process number has 10 bits")
        self._owner = owner
        self._live: dict[int, tuple[bytes, Cancel]] = {}

    def issue(self, cancel: Cancel, *, long: bool = False) -> tuple[int, bytes]:
        """A process id and a secret under which `cancel` will be called."""
        while True:
            process = self._owner << _SESSION_BITS | secrets.randbelow((1 << _SESSION_BITS) - 1) + 1
            if process not in self._live:
                secret = secrets.token_bytes(_LONG if long else _SHORT)
                self._live[process] = (secret, cancel)
                return process, secret

    def withdraw(self, process: int) -> None:
        self._live.pop(process, None)

    def find(self, process: int, secret: bytes) -> Cancel | None:
        known, cancel = self._live.get(process, (bytes(_SHORT), None))
        return cancel if hmac.compare_digest(known, secret) and cancel is not None else None

    def __len__(self) -> int:
        return len(self._live)


def owner_of(process: int) -> int:
    """The number of the gateway process that issued this process id."""
    return process >> _SESSION_BITS


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
