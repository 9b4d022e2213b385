"""What a client's session holds on the target: prepared statements, portals, the transaction.

The gateway must never believe that a name means one text while the target has another under it. Changes are made when
the message that causes them is sent, because the client may use the name in the very next one; each returns how it is
undone, and an error undoes those that the target skipped, last first.

Up to the next Sync that is safe without knowing the answer: if the change fails, the target skips everything that
relies on it. Behind a Sync it is not (a Parse over a live name fails, and the name goes on to mean the old text), so
`pending` says what has not been answered yet, and in which batch it was sent; whoever uses the name in a later batch
waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from taskgate.domain import Parameter, TransactionState
from taskgate.enforcement.contracts import Permit
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.statements import Statement

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan
    from taskgate.protocols.postgres.expectations import Expected
    from taskgate.protocols.postgres.rows import ResultMasker

Undo = Callable[[], None]
Name = tuple[bytes, bytes]
"""`S` (prepared statement) or `P` (portal), and the name."""
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Prepared:
    """A prepared statement. `fields` as the target described them, `shown` as the client was told (masks applied)."""

    name: bytes
    text: str
    types: tuple[int, ...]
    statement: Statement
    fields: tuple[Field, ...] | None = None
    shown: tuple[Field, ...] | None = None
    shown_under: MaskPlan | None = None

    def forget_description(self) -> None:
        """It is parsed again: whatever the target and the client knew of its columns may be another now."""
        self.fields = self.shown = self.shown_under = None


@dataclass(slots=True, eq=False)
class Portal:
    """A bound statement. `permit` is the one whose masks chose the formats; `formats` are what the target sends,
    `asked` what the client wants."""

    name: bytes
    statement: Statement
    permit: Permit
    prepared: Prepared | None  # None: a cursor that SQL declared
    parameters: tuple[Parameter, ...] = ()
    asked: tuple[int, ...] = ()
    formats: tuple[int, ...] = ()
    masker: ResultMasker | None = None
    described: bool = False  # a RowDescription or NoData for it has been asked for since Bind
    started: bool = False  # executed once: a target never runs a portal again, it only goes on where it stopped


@dataclass(slots=True, eq=False)
class SessionState:
    """The tables of one session."""

    capacity: int
    statements: dict[bytes, Prepared] = field(default_factory=dict)
    portals: dict[bytes, Portal] = field(default_factory=dict)
    pending: dict[Name, tuple[Expected, int]] = field(default_factory=dict)

    def put_statement(self, prepared: Prepared) -> Undo:
        return _put(self.statements, prepared.name, prepared)

    def put_portal(self, portal: Portal) -> Undo:
        return _put(self.portals, portal.name, portal)

    def close_statement(self, name: bytes) -> Undo:
        return _put(self.statements, name, None)

    def close_portal(self, name: bytes) -> Undo:
        return _put(self.portals, name, None)

    @property
    def full(self) -> bool:
        return len(self.statements) + len(self.portals) >= self.capacity


def _put(table: dict[bytes, T], name: bytes, value: T | None) -> Undo:
    before = table.get(name)
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value

    def undo() -> None:
        if before is not None and name:
            table[name] = before
        elif table.get(name) is value:
            # The unnamed one does not come back: whoever failed to replace it has dropped it first.
            table.pop(name, None)

    return undo


class Transaction:
    """The target's transaction, as far as it is known when a message is about to be sent.

    | event                 | IDLE   | BEGUN  | ACTIVE | FAILED |
    |-----------------------|--------|--------|--------|--------|
    | a bare BEGIN is sent  | BEGUN  | ACTIVE | ACTIVE | FAILED |
    | anything else is sent | ACTIVE | ACTIVE | ACTIVE | FAILED |
    | ReadyForQuery I       | IDLE   | IDLE   | IDLE   | IDLE   |
    | ReadyForQuery T       | ACTIVE | BEGUN  | ACTIVE | ACTIVE |
    | ReadyForQuery E       | FAILED | FAILED | FAILED | FAILED |

    A ReadyForQuery says nothing about messages sent behind the one it answers: with any of those outstanding the state
    stays what sending made of it, which is never milder. `changed`: something sent in it may have changed something.
    """

    __slots__ = ("block", "changed", "settings_touched", "state")

    def __init__(self) -> None:
        self.state = TransactionState.IDLE
        self.block = False  # the last ReadyForQuery was inside BEGIN … COMMIT
        self.changed = False
        self.settings_touched = False  # a setting may have been changed in it, so its end may change it back

    def sent(self, *, begins: bool, may_change: bool = False) -> None:
        self.changed |= may_change
        if self.state is TransactionState.IDLE and begins:
            self.state = TransactionState.BEGUN
        elif self.state is not TransactionState.FAILED:
            self.state = TransactionState.ACTIVE

    def ready(self, status: int, *, outstanding: bool) -> None:
        """`status`: the byte of ReadyForQuery."""
        self.block = status != 0x49
        if outstanding:
            return
        if status == 0x49:
            self.state = TransactionState.IDLE
            self.changed = False
        elif status == 0x45:
            self.state = TransactionState.FAILED
        elif self.state is not TransactionState.BEGUN:
            self.state = TransactionState.ACTIVE
