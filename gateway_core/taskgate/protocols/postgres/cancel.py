"""Cancel requests: keys of our own, each belonging to one live session.

A client never learns the target's key. Secrets are compared in constant time, and a wrong one gets the same silence as
an unknown process id. A request that reaches another process than the session's is passed on by the key's name
(`Gate.cancel_name`), by which the owner finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Callable, Coroutine

from taskgate.domain import Target
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.upstream import dial

_PROCESS_IDS = 2**31 - 1  # positive 32-bit numbers
_SHORT, _LONG = 4, 32  # bytes of a secret: all that protocol 3.0 has room for, and from 3.2 on
_PATIENCE = 5.0

Cancel = Callable[[], Coroutine[None, None, None]]


class CancelKeys:
    """The keys of one process's live sessions. `name`: what a key is called between processes."""

    def __init__(self, name: Callable[[int, bytes], str]) -> None:
        self._name = name
        self._live: dict[int, tuple[bytes, Cancel]] = {}
        self._named: dict[str, Cancel] = {}
        self._called: set[asyncio.Task[None]] = set()

    def issue(self, cancel: Cancel, *, long: bool = False) -> tuple[int, bytes]:
        """A process id and a secret under which `cancel` will be called. `long`: a secret beyond guessing."""
        while True:
            process = secrets.randbelow(_PROCESS_IDS) + 1
            if process not in self._live:
                secret = secrets.token_bytes(_LONG if long else _SHORT)
                self._live[process] = (secret, cancel)
                self._named[self._name(process, secret)] = cancel
                return process, secret

    def withdraw(self, process: int) -> None:
        secret, _ = self._live.pop(process, (None, None))
        if secret is not None:
            self._named.pop(self._name(process, secret), None)

    def called(self, name: str) -> None:
        """Another process was asked to cancel by the key of this name: if it is one of ours, we do."""
        cancel = self._named.get(name)
        if cancel is not None:
            task = asyncio.ensure_future(cancel())
            self._called.add(task)
            task.add_done_callback(self._called.discard)

    def find(self, process: int, secret: bytes) -> Cancel | None:
        known, cancel = self._live.get(process, (bytes(_SHORT), None))
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
