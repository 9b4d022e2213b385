"""One session's records, checked: their chain, their contents, and what checkpoints signed for."""

from __future__ import annotations

from collections.abc import Iterable

from taskgate.errors import GatewayFault
from taskgate.recording.bundle import UNREADABLE
from taskgate.recording.chain import ChainChecker, ChainError
from taskgate.recording.findings import Problem, SessionFinding
from taskgate.recording.header import Record
from taskgate.recording.outside import Newer
from taskgate.recording.records import RecordKind
from taskgate.recording.signed_history import SignedHistory


def check_session(
    session_id: str, records: Iterable[Record], history: SignedHistory, newer: Newer, *, contents: bool
) -> SessionFinding:
    """`contents`: they should be there, sealed or not, unless a checkpoint says that they were erased."""
    chain = ChainChecker(session_id)
    signed, later = history.heads.get(session_id, {}), newer.heads.get(session_id, {})
    erased = session_id in history.erased
    open_actions: set[int] = set()
    problem: Problem | None = None
    covered, checkpoint, whole = 0, None, False
    try:
        for record in records:
            chain.check(record)
            if contents and record.raw_content is None and not (record.sealed or erased):
                raise ChainError(record.seq, "its content is missing, and no checkpoint says that it was erased")
            if record.seq in signed:
                covered, checkpoint = record.seq + 1, _agreeing(chain, signed[record.seq])
            if record.seq in later:
                _agreeing(chain, later[record.seq])
            if record.kind is RecordKind.ACTION:
                open_actions.add(record.seq)
            elif record.kind is RecordKind.RESULT and record.content is not None:
                open_actions.discard(record.content.get("action", -1))
        whole = _check_end(chain, history, covered)
        _check_later_end(chain, newer)
    except ChainError as error:
        problem = Problem(error.message, session_id, error.seq)
    except (GatewayFault, *UNREADABLE) as error:
        problem = Problem(f"cannot be read: {error}", session_id, chain.next_seq)
    except (KeyError, TypeError):
        problem = Problem("cannot be read: not what a gateway writes", session_id, chain.next_seq)
    complete = chain.contents == chain.next_seq
    known = newer.last(session_id)
    return SessionFinding(
        session=session_id,
        records=chain.next_seq,
        contents=chain.contents,
        head=chain.head,
        closed=chain.last_kind is RecordKind.SESSION_CLOSED,
        signed=covered,
        checkpoint=checkpoint,
        erased=erased,
        unfinished=tuple(sorted(open_actions)) if complete else (),
        problem=problem,
        whole=whole,
        goes_on=known if known[0] >= chain.next_seq else None,
    )


def _agreeing(chain: ChainChecker, said: tuple[str, str, int]) -> int:
    """The number of the checkpoint that signed for the record the chain has come to."""
    head, state, number = said
    if head != chain.head:
        raise ChainError(chain.next_seq - 1, f"differs from what checkpoint {number} signed for")
    if state == "closed" and chain.last_kind is not RecordKind.SESSION_CLOSED:
        raise ChainError(chain.next_seq - 1, f"is not the end that checkpoint {number} signed for")
    return number


def _check_later_end(chain: ChainChecker, newer: Newer) -> None:
    """What is known outside may go on, unless it had to be here or there is an end."""
    closed = chain.last_kind is RecordKind.SESSION_CLOSED
    last, number = newer.last(chain.session_id) if closed else newer.due.get(chain.session_id, (-1, 0))
    if last >= chain.next_seq:
        what = f"is missing: checkpoint {number}, known outside, signed for records up to {last}"
        raise ChainError(chain.next_seq, what)


def _check_end(chain: ChainChecker, history: SignedHistory, covered: int) -> bool:
    """Whether checkpoints say that this is the end, as far as they can. Where they are damaged it is not the session's
    fault that they say nothing of it."""
    signed, last = history.heads.get(chain.session_id, {}), chain.next_seq - 1
    beyond = [seq for seq in signed if seq > last]
    if beyond:
        number = signed[min(beyond)][2]
        raise ChainError(chain.next_seq, f"is missing: checkpoint {number} signed for records up to {max(beyond)}")
    if chain.next_seq == 0:
        raise ChainError(0, "is missing: there is no record at all")
    closed = chain.last_kind is RecordKind.SESSION_CLOSED
    if history.problem is not None:
        return closed and covered > last
    if closed and covered <= last:
        raise ChainError(covered, "no checkpoint signed for this record and the session's end")
    if not signed:
        raise ChainError(0, "no checkpoint signed for this session")
    return True
