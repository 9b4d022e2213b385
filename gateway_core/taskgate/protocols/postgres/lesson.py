"""How an exchange comes to be known: from one batch, what was made of it, and the answer that it got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskgate.domain import RecordingLevel
from taskgate.enforcement.contracts import Permit
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.described import described
from taskgate.protocols.postgres.expectations import Answer, Expected, Ready
from taskgate.protocols.postgres.known import DESCRIBE, END, UNNAMED_STATEMENT, Exchange, Steps
from taskgate.protocols.postgres.results import DescribedPortal, Executed, Queried
from taskgate.protocols.postgres.statements import Statement
from taskgate.speed import exchange_reply, message_runs

_LONGEST_OPENING = 4 * 1024
_PARSE_COMPLETE, _BIND_COMPLETE, _NO_DATA, _ROW_DESCRIPTION = 0x31, 0x32, 0x6E, 0x54
_OPENS = frozenset((_PARSE_COMPLETE, _BIND_COMPLETE, _NO_DATA, _ROW_DESCRIPTION))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A batch that the interpreter has just been through. `batch` are the entries it waits with, `scope` is the
    session's of that moment."""

    key: bytes
    data: bytes
    batch: tuple[Expected, ...]
    scope: object

    @classmethod
    def of(
        cls, key: bytes, data: bytes, sent: Sequence[bytes], batch: Sequence[Expected], scope: object
    ) -> Lesson | None:
        """`sent` is what goes to the target for `data`. None: nothing can be learnt from it."""
        executed = _executed(batch)
        if executed is None or not _ordinary(executed):
            return None
        forwarded = b"".join(sent)
        if forwarded != data and not (
            isinstance(executed, Executed) and forwarded == data[:-END] + DESCRIBE + data[-END:]
        ):
            return None
        return cls(key, data, tuple(batch), scope)

    def is_next(self, queue: Sequence[Expected]) -> bool:
        """Whether this is what the target answers next, and all that it has to answer."""
        return len(queue) == len(self.batch) and all(one is other for one, other in zip(queue, self.batch, strict=True))

    def learn(self, answer: bytes) -> Exchange | None:
        """From the target's whole answer, in which nothing went wrong."""
        executed, opened = _executed(self.batch), _opening(answer)
        if executed is None or executed.execution is None or opened is None:
            return None
        opening, kept = opened
        description = opening[kept:] if opening[kept : kept + 1] == b"T" else b""
        columns = len(backend.decode_row_description(description, 0, len(description))) if description else -1
        if exchange_reply(answer, opening, columns) is None:
            return None
        steps = self._steps(executed) if isinstance(executed, Executed) else None
        plan, masker, shown = executed.plan_of(0), None, opening
        formats = executed.portal.formats if isinstance(executed, Executed) else ()
        if steps is None and not description:
            return None
        if plan is not None and description:
            known = described(plan, description, None if steps is None else formats)
            masker = known.masker
            formats = known.formats if steps is None else formats
            if known.answer is not None:
                shown = opening[:kept] + known.answer
        if steps is not None and steps.injects:
            shown = opening[:kept]
        statement = executed.statement
        return Exchange(
            steps=steps,
            statement=statement,
            text=self.data if steps is None and not statement.action.shape else None,
            permit=executed.execution.permit,
            scope=self.scope,
            plan=plan,
            masker=masker,
            rewrites=masker is not None and not masker.identity,
            formats=formats,
            rowless=opening[kept : kept + 1] == b"n",
            opening=opening,
            shown=opening if shown == opening else shown,
            columns=columns,
        )

    def _steps(self, executed: Executed) -> Steps | None:
        asked, portal = self.batch[-3], executed.portal
        if portal.prepared is None:
            return None
        return Steps(
            prepared=portal.prepared,
            parses=_parses(self.batch),
            describes=isinstance(asked, DescribedPortal),
            injects=isinstance(asked, DescribedPortal) and asked.swallows,
            parameter_formats=tuple(parameter.format for parameter in portal.parameters),
        )


def _executed(batch: Sequence[Expected]) -> Executed | Queried | None:
    """What runs in a batch of the forms [Parse] Bind [Describe] Execute Sync, or Query; None in any other."""
    if len(batch) == 1:
        return batch[0] if type(batch[0]) is Queried else None
    rest = list(batch)
    if _parses(batch):
        del rest[0]
    if len(rest) == 4 and isinstance(rest[1], DescribedPortal):
        del rest[1]
    if len(rest) != 3 or type(rest[2]) is not Ready:
        return None
    bound, executed = rest[:2]
    if not isinstance(bound, Answer) or not bound.answers(_BIND_COMPLETE) or type(executed) is not Executed:
        return None
    prepared = executed.portal.prepared
    if _parses(batch) and (prepared is None or prepared.name):
        return None  # what is bound is not what is parsed: the two names would have to be kept apart
    return executed


def _parses(batch: Sequence[Expected]) -> bool:
    """Whether it begins with a Parse of the unnamed statement."""
    first = batch[0] if batch else None
    return isinstance(first, Answer) and first.answers(_PARSE_COMPLETE, UNNAMED_STATEMENT)


def _ordinary(executed: Executed | Queried) -> bool:
    """Nothing about what runs has to be looked at each time, and it runs under one permit without conditions."""
    if executed.execution is None:
        return False
    return _constant(executed.statement) and _unconditional(executed.execution.permit) and (
        isinstance(executed, Queried)
        or (executed.portal.prepared is not None and executed.portal.formats == executed.portal.asked)
    )  # fmt: skip


def _constant(statement: Statement) -> bool:
    return len(statement.facts) == 1 and not (
        statement.unsettling
        or statement.volatile
        or statement.transaction_control
        or statement.copies_in
        or statement.copies_out
        or statement.changes_catalog
        or bool(getattr(statement.facts[0], "name_changes", None))
    )


def _unconditional(permit: Permit) -> bool:
    return not (
        permit.durable
        or permit.may_change
        or permit.needs_judgement
        or permit.row_bound is not None
        or permit.approval_id is not None
        or permit.recording is RecordingLevel.RESULTS
    )


def _opening(answer: bytes) -> tuple[bytes, int] | None:
    """What stands before rows and completion (ParseComplete, BindComplete, RowDescription or NoData), and where in it
    the description begins."""
    end = described_at = 0
    for kind, start, stop, count in message_runs(answer, 0, len(answer)):
        if kind not in _OPENS:
            break
        if count != 1:
            return None
        described_at = start if kind in (_NO_DATA, _ROW_DESCRIPTION) else stop
        end = stop
    return (answer[:end], described_at) if end <= _LONGEST_OPENING else None
