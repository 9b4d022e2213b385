"""Cancel requests on their way to the gateway process that owns the session.

A client's cancel request is a connection of its own, which a load balancer gives to any process. The key says by a
number whose it is (`GatewayProcess.number`); only that process knows the secret and can tell whether it is right. So
the others pass the key on, in a control signal, sealed to the owner: the store holds nothing that could be used.

Whoever reaches the port can send keys without having proven anything, and four bytes of secret leave no room for a
proof that others could check. What guessing may cost the store is therefore bounded here, whatever arrives: keys of
processes that do not live are dropped unasked, the rest of a quarter of a second shares one signal, and what goes
beyond `MOST` keys, or `MOST_EACH` from one address, is dropped. Two processes may have the same number: then both get
the key, and one of them knows it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from taskgate.errors import StoreFault
from taskgate.store.peer_box import seal
from taskgate.store.processes import GatewayProcess, number_of
from taskgate.store.signals import Signal, SignalKind, Signals

log = structlog.get_logger(__name__)

WINDOW = 0.25
MOST = 64
MOST_EACH = 16
_PEERS_FRESH = 1.0

Deliver = Callable[[bytes, str], None]
"""A key and the address of the client that sent it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    owner: int
    key: bytes
    address: str
    sent: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class CancelRequests:
    """One a process. `run` beside it; `deliver` is called for keys that other processes passed on to this one."""

    def __init__(self, process: GatewayProcess, signals: Signals) -> None:
        self.deliver: Deliver | None = None
        self._process = process
        self._signals = signals
        self._waiting: list[_Waiting] = []
        self._from: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._peers: dict[int, list[bytes]] = {}
        self._peers_read = float("-inf")
        signals.subscribe(SignalKind.SESSION_CANCEL, self._heard)

    async def forward(self, owner: int, key: bytes, address: str) -> bool:
        """Pass the key on to the processes with this number, and give them the time to hear of it: a client that waits
        for its cancel connection to close can trust that a later statement is not what gets cancelled. False where
        there is no such process, or too much is asked for."""
        if owner not in self._peers and time.monotonic() - self._peers_read < _PEERS_FRESH:
            return False
        if len(self._waiting) >= MOST or self._from[address] >= MOST_EACH:
            return False
        waiting = _Waiting(owner, key, address)
        self._waiting.append(waiting)
        self._from[address] += 1
        self._news.set()
        if not await waiting.sent:
            return False
        await asyncio.sleep(self._signals.interval)
        return True

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            self._from.clear()
            found: set[_Waiting] = set()
            try:
                found = await self._send(waiting)
            except StoreFault as fault:
                log.warning("cancels.store_unreachable", reason=fault.detail)
            for one in waiting:
                if not one.sent.done():
                    one.sent.set_result(one in found)
            await asyncio.sleep(WINDOW)

    async def _send(self, waiting: list[_Waiting]) -> set[_Waiting]:
        """Those for which there is a process."""
        peers: defaultdict[int, list[bytes]] = defaultdict(list)
        for peer in await self._process.others():
            peers[number_of(peer.id)].append(peer.box)
        self._peers, self._peers_read = dict(peers), time.monotonic()
        requests: list[tuple[int, str]] = []
        found: set[_Waiting] = set()
        for one in waiting:
            plain = json.dumps([one.key.hex(), one.address]).encode()
            for box in self._peers.get(one.owner, ()):
                requests.append((one.owner, base64.b64encode(seal(box, plain)).decode()))
                found.add(one)
        if requests:
            await self._signals.send(SignalKind.SESSION_CANCEL, self._process.id, {"requests": requests})
        return found

    def _heard(self, signal: Signal) -> None:
        for owner, sealed in signal.payload["requests"]:
            if owner == self._process.number and self.deliver is not None:
                plain = self._process.box.open(base64.b64decode(sealed))
                if plain is not None:
                    key, address = json.loads(plain)
                    self.deliver(bytes.fromhex(key), address)
