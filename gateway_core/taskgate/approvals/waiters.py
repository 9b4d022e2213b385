"""Futures for decisions, whoever makes them in whichever process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from taskgate.domain import Approval, ApprovalState
from taskgate.errors import ClientFault, StoreFault
from taskgate.store.signals import Signal, SignalKind, Signals

_RETRY = 0.25  # seconds, while the store is away


class DecisionWaiters:
    """A future resolves once its approval is no longer pending: after a signal, or at once where that is so already."""

    def __init__(self, signals: Signals, get: Callable[[str], Awaitable[Approval | None]]) -> None:
        self._get = get
        self._waiting: defaultdict[str, set[asyncio.Future[Approval]]] = defaultdict(set)
        self._checks: set[asyncio.Task[None]] = set()
        signals.subscribe(SignalKind.APPROVAL_DECIDED, self._heard)

    def wait(self, approval_id: str) -> asyncio.Future[Approval]:
        future: asyncio.Future[Approval] = asyncio.get_running_loop().create_future()
        self._waiting[approval_id].add(future)
        future.add_done_callback(lambda done: self._forget(approval_id, done))
        self._check(approval_id)
        return future

    @property
    def count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _heard(self, signal: Signal) -> None:
        if signal.subject in self._waiting:
            self._check(signal.subject)

    def _check(self, approval_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._resolve(approval_id))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _resolve(self, approval_id: str) -> None:
        while approval_id in self._waiting:
            try:
                approval = await self._get(approval_id)
            except StoreFault:
                await asyncio.sleep(_RETRY)
                continue
            for future in tuple(self._waiting.get(approval_id, ())):
                if future.done():
                    continue
                if approval is None:
                    future.set_exception(ClientFault(f"There is no approval {approval_id}."))
                elif approval.state is not ApprovalState.PENDING:
                    future.set_result(approval)
            return

    def _forget(self, approval_id: str, future: asyncio.Future[Approval]) -> None:
        futures = self._waiting.get(approval_id)
        if futures is not None:
            futures.discard(future)
            if not futures:
                del self._waiting[approval_id]
