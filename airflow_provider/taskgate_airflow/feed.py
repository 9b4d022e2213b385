"""One connection for everything that waits: the triggers of one event loop share a feed of approvals that end.

A feed asks for the states of all approvals that are waited for, once a connection, and then hears of each end on the
gateway's stream (`GET /v1/approvals/watch`): ids and states, for which the key needs `approvals:watch` and no more. It
is opened by who first waits and closed after the last. Whatever fails (the gateway restarts, answers 5xx, the key is
being rotated, its file is missing) is logged once and tried again, so that a decision arrives within five seconds of
when it works again; it never ends a wait: a deferral has a timeout of its own for that.

Why not Airflow's own shared streams (`BaseEventTrigger.shared_stream_key`, airflow.triggers.shared_stream), which are
for many waits on one poll? Their failures are the subscribers': a producer that raises or returns fails every trigger
of the group, and so does a subscriber's full queue. `open_shared_stream` is given the arguments of whichever trigger
came first, so nothing knows which approvals to ask for on a connection, and who joins later has missed what came
before. A `BaseEventTrigger` is also kept out of triggerer queues (`supports_triggerer_queue`), and only Airflow 3.3 has
such streams.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter, defaultdict
from contextlib import aclosing
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import structlog

from taskgate.client import AsyncClient, WatchStarted
from taskgate.domain import ApprovalState
from taskgate_airflow.configuration import GatewayAccess

log = structlog.get_logger(__name__)

UNKNOWN = "unknown"
"""What becomes of a wait for an approval that there is not: no state of the gateway's."""

_PAUSE = 1.0  # seconds before a connection is made again, at most
_CONNECT = 5.0  # seconds that one call may take
_LIVE_WITHIN = 3.0  # seconds a stream may take to begin before it is not waited for
_LOOK_AGAIN = 60.0  # seconds after which all are asked for on a connection that works, whatever it says
_LOOK_FOR_UNKNOWN = 5.0  # the same while some are not known
_UNKNOWN_AFTER = 3  # answers in a row in which one is missing


async def outcome(access: GatewayAccess, approval_id: str) -> str:
    """Waits until the approval has ended: `approved`, `denied`, `expired`, `withdrawn`, or `unknown` where the gateway
    keeps saying that there is no such approval. Cancel it freely."""
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    feed = feeds.get(access)
    if feed is None:
        feed = feeds[access] = ApprovalFeed(access)
    try:
        return await feed.outcome(approval_id)
    finally:
        if not feed.waited_for:
            if feeds.get(access) is feed:
                del feeds[access]
            await feed.close()


@dataclass(eq=False)
class ApprovalFeed:
    """Waits of one event loop with one key. `close` it when nobody waits any more."""

    access: GatewayAccess
    _waits: defaultdict[str, set[asyncio.Future[str]]] = field(default_factory=lambda: defaultdict(set))
    _missing: Counter[str] = field(default_factory=Counter)
    _unasked: set[str] = field(default_factory=set)
    _new: asyncio.Event = field(default_factory=asyncio.Event)
    _running: asyncio.Task[None] | None = None
    _fault: str | None = None

    @property
    def waited_for(self) -> bool:
        return bool(self._waits)

    async def outcome(self, approval_id: str) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waits[approval_id].add(future)
        self._unasked.add(approval_id)
        self._new.set()
        if self._running is None:
            # In a context of its own: what it logs is not the log of the trigger that happened to be the first.
            running = self._run()
            self._running = asyncio.get_running_loop().create_task(running, context=contextvars.Context())
        try:
            return await future
        finally:
            self._waits[approval_id].discard(future)
            if not self._waits[approval_id]:
                del self._waits[approval_id]
                self._missing.pop(approval_id, None)

    async def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running})

    async def _run(self) -> None:
        while True:
            try:
                # Reading the key and the certificates touches files: not in the triggerer's event loop.
                async with await asyncio.to_thread(self.access.async_client, timeout=_CONNECT, tries=1) as client:
                    await self._connected(client)
            except Exception as error:  # noqa: BLE001  a feed that ended would leave those who wait to their timeouts
                self._failed(error)
            await asyncio.sleep(_PAUSE * random.uniform(0.3, 1.0))  # noqa: S311  spreads triggerers, guards nothing

    async def _connected(self, client: AsyncClient) -> None:
        """Until the stream ends. Raises what keeps it from being read, or the states from being asked for."""
        live = asyncio.Event()
        working = {asyncio.create_task(self._listen(client, live)), asyncio.create_task(self._ask(client, live))}
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _listen(self, client: AsyncClient, live: asyncio.Event) -> None:
        async with aclosing(client.approval_events()) as events:
            async for event in events:
                if isinstance(event, WatchStarted):  # from here on nothing is missed: now look at what was before
                    self._recovered()
                    self._unasked.update(self._waits)
                    self._new.set()
                    live.set()
                else:
                    self._settle(event.id, event.state.value)

    async def _ask(self, client: AsyncClient, live: asyncio.Event) -> None:
        """For the states of what is new, and of everything once in a while."""
        try:
            async with asyncio.timeout(_LIVE_WITHIN):
                await live.wait()
        except TimeoutError:  # a proxy that keeps the stream to itself: then each connection asks, at least
            self._unasked.update(self._waits)
            self._new.set()
        while True:
            try:
                async with asyncio.timeout(_LOOK_FOR_UNKNOWN if self._missing else _LOOK_AGAIN):
                    await self._new.wait()
            except TimeoutError:
                self._unasked.update(self._waits)
            self._new.clear()
            wanted, self._unasked = [one for one in self._unasked if one in self._waits], set()
            states = await client.approval_states(wanted)
            for approval_id in wanted:
                self._stands(approval_id, states.get(approval_id))

    def _stands(self, approval_id: str, state: ApprovalState | None) -> None:
        if state is None:
            self._missing[approval_id] += 1
            if self._missing[approval_id] >= _UNKNOWN_AFTER:
                self._settle(approval_id, UNKNOWN)
            return
        self._missing.pop(approval_id, None)
        if state is not ApprovalState.PENDING:
            self._settle(approval_id, state.value)

    def _settle(self, approval_id: str, state: str) -> None:
        for future in self._waits.get(approval_id, ()):
            if not future.done():
                future.set_result(state)

    def _failed(self, error: Exception) -> None:
        fault = type(error).__name__
        if fault != self._fault:
            self._fault = fault
            log.warning(
                "taskgate: approvals cannot be watched; trying again until they can", reason=str(error) or fault
            )

    def _recovered(self) -> None:
        if self._fault is not None:
            log.info("taskgate: approvals are watched again")
        self._fault = None


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[GatewayAccess, ApprovalFeed]] = WeakKeyDictionary()
