"""What a protocol may ask of the gateway, and nothing else.

A protocol's `proxy.py` is handed a `Gate`. It looks a credential up, proves it in its own way (SCRAM, …), opens a
`GovernedSession` and then, for every action its client attempts:

    permit = session.cached(action) or await session.judge(action, waiting)   # raises PolicyRefusal, never says "no"
    sequence = session.begin(action, permit, parameters)                      # the action's record, buffered
    session.commit()                       # every record begun is in the operating system: now bytes may be forwarded
    await session.sync()                   # instead of commit() where permit.durable: on disk
    ... forward, receive, mask as permit.masks say ...
    session.finish(sequence, outcome)

Any error raised by these means that nothing may be forwarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from taskgate.domain import Action, Credential, Outcome, Parameter, Principal, RecordingLevel, Target
from taskgate.errors import PolicyRefusal

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.sql.catalog import Catalog


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """How an allowed action must be carried out. Immutable and shared by every execution it is cached for."""

    rules: tuple[str, ...]
    masks: tuple[MaskPlan, ...]  # one a statement, in order
    row_bound: int | None = None  # more changed rows than this: roll back and refuse
    recording: RecordingLevel = RecordingLevel.STATEMENTS
    durable: bool = False  # record on disk before forwarding
    may_change: bool = False  # it, or a function that it calls, may do more than read
    read_only: bool = False
    approval_id: str | None = None
    needs_judgement: bool = False  # verdict hangs on parameters or a human: judge again when it executes

    @property
    def masked(self) -> bool:
        return any(plan.active for plan in self.masks)


@dataclass(frozen=True, slots=True)
class ParkedNotice:
    """What a protocol tells its client while a human is asked."""

    approval_id: str
    url: str | None
    rules: tuple[str, ...]
    hold: float  # seconds until the wait ends in a refusal
    nobody_may: str | None = None  # why nobody known may decide it as things are


class WaitMode(StrEnum):
    """What a session does where policy wants a human: the startup option `taskgate.wait`."""

    HOLD = "hold"  # the action waits
    REFUSE = "refuse"  # it is refused as pending at once, and finds the grant when it is run again
    ASK = "ask"  # nothing is changed in this session: what would need a human is asked for, and uses no grant


class Waiting(Protocol):
    """How a protocol lets its client know that an action is parked."""

    def parked(self, notice: ParkedNotice) -> None: ...


class GovernedSession(Protocol):
    """One client connection as the rest of the gateway sees it. Not thread-safe; one event loop."""

    @property
    def id(self) -> str: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def target(self) -> Target: ...
    @property
    def read_only(self) -> bool:
        """The principal's rules allow only reads on this target: open the target's session read-only."""

    @property
    def catalog(self) -> Catalog:
        """The target's catalogue as last read; replaced as a whole when it changes."""

    @property
    def catalog_age(self) -> float:
        """Seconds since the catalogue was last compared with the target's; infinite after `catalog_moved`."""

    @property
    def baseline(self) -> MaskPlan:
        """Masks for result paths that belong to no action (notices, notifications): detectors only."""

    @property
    def ended(self) -> asyncio.Future[str]:
        """Resolves with the reason when the session must end now: revoked, killed, expired, store out of reach."""

    @property
    def confined(self) -> asyncio.Future[str]:
        """Resolves, with the reason, when the session may do nothing but read any more. What it is in the middle of,
        and a transaction in which something may have changed, must not be completed: then the session ends."""

    @property
    def scope(self) -> object:
        """What a cached permit hangs on besides its action: policy, catalogue, principal, target. The same object means
        that `cached` still gives what it gave. Raises TargetFault where the catalogue is too old to be trusted."""

    def cached(self, action: Action) -> Permit | None:
        """The hot path: synchronous, no I/O. `action.parameters` is ignored. None: ask `judge`."""

    async def judge(self, action: Action, waiting: Waiting) -> Permit:
        """Judge, and where policy asks for a human wait for them as the rule says. Raises PolicyRefusal (already
        recorded) or GatewayFault. Cancelling withdraws the request. With `action.executes` false nobody is asked and
        the permit says `needs_judgement` where the verdict is still open."""

    def begin(
        self, action: Action, permit: Permit, parameters: Sequence[Parameter] = (), *, text: str | None = None
    ) -> int:
        """Append the action's record to the journal's buffer; returns its sequence number in the session. `text`: what
        was sent, where it is not the action's own: the same but for number literals (`Action.shape`)."""

    def commit(self) -> None:
        """One write for everything begun since the last: it survives the death of this process. Raises JournalFault."""

    async def sync(self) -> None:
        """`commit`, and on disk (group commit with other sessions). Raises JournalFault."""

    def finish(self, sequence: int, outcome: Outcome) -> None:
        """The result's record. Never raises: a journal that cannot be written ends the session through `ended`."""

    def rows(self, sequence: int, data: bytes) -> None:
        """Result rows as the client gets them, for permits that record `results`."""

    @property
    def behind(self) -> bool:
        """This session records rows, and too much waits for the disk: take no more of them from the target until `sync`
        has returned and this is false."""

    def event(self, kind: str, **fields: object) -> None:
        """Anything else worth a record: a malformed message, a cancel request, a settings change, a server's error."""

    def catalog_moved(self) -> None:
        """DDL that went through this session is committed: whoever misses a name from now on looks for it anew."""

    async def catalog_changed(self) -> None:
        """DDL went through this session, or a text names what nothing has: read the catalogue again, if it has changed,
        before the next judgement."""

    async def close(self, reason: str) -> None:
        """The connection is gone. Idempotent."""


class Gate(Protocol):
    """The gateway as a protocol's listener sees it."""

    async def credential(self, user: str) -> Credential | None:
        """The live credential with this user name; None when unknown, expired or revoked (do not tell which)."""

    async def open(
        self,
        credential: Credential,
        *,
        protocol: str,
        client_address: str,
        options: Mapping[str, str],
        begun: Callable[[GovernedSession], None],
    ) -> GovernedSession:
        """After the client has proven `credential`. `options`: startup options named `taskgate.*`, without the prefix
        (`wait`: see `WaitMode`). `begun` is called once there is a session that the store has still to let in: what
        takes time may be prepared, but nothing said in its name. Raises TooManySessions, StoreFault, ClientFault."""

    async def target_secret(self, session: GovernedSession) -> str:
        """The target's password. Never logged, never kept longer than needed. Raises GatewayFault."""

    def cancel_name(self, process: int, secret: bytes) -> str:
        """What a cancel key is called between the processes of an installation: tells nothing about it."""

    def cancel_elsewhere(self, process: int, secret: bytes, client_address: str) -> bool:
        """A cancel request whose session is not here: ask the other processes. False where nobody was asked."""

    def on_cancel(self, called: Callable[[str], None]) -> None:
        """`called` gets the names of the keys that another process was asked to cancel by."""

    def authentication_failed(self, *, protocol: str, client_address: str, user: str, reason: str) -> None:
        """Recorded and counted; `reason` is for operators, never for the client."""

    def malformed(self, *, protocol: str, client_address: str, reason: str) -> None:
        """Bad input before there is a session: recorded and counted."""


__all__ = ["Gate", "GovernedSession", "ParkedNotice", "Permit", "PolicyRefusal", "WaitMode", "Waiting"]
