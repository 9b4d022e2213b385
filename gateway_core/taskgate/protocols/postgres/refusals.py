"""Refusals as real server errors.

In a refused message's place the target gets one that it must reject: for a Query a text that no grammar accepts, for
every other message a Bind of a statement that does not exist. Its ErrorResponse is then replaced by ours. So the target
aborts its transaction and skips to the next Sync exactly as the client is told; an error of the gateway's own making
would leave the target's transaction alive, and the client's COMMIT would commit half of it.
"""

from __future__ import annotations

import secrets

from taskgate.errors import TaskgateError
from taskgate.protocols.postgres.backend import Report, report
from taskgate.protocols.postgres.frontend import Bind, Query
from taskgate.sql.faults import SyntaxFault


def failing_bind() -> bytes:
    return Bind(b"", b"taskgate_refused_" + secrets.token_hex(12).encode()).encode()


FAILING_QUERY = Query(b"taskgate_refused").encode()


class Refused(Exception):
    """This message is refused with this report; the session goes on."""

    def __init__(self, answer: Report) -> None:
        super().__init__(answer.sqlstate)
        self.answer = answer


def answer_for(error: TaskgateError) -> Report:
    """The ErrorResponse a client gets for a refusal or a fault of the gateway's."""
    position = error.position if isinstance(error, SyntaxFault) and error.position > 0 else None
    return report("ERROR", error.sqlstate, error.message, detail=error.detail, hint=error.hint, position=position)


def fatal_for(error: TaskgateError) -> bytes:
    """The last message of a session that ends by a fault."""
    return report("FATAL", error.sqlstate, error.message, detail=error.detail, hint=error.hint).encode(b"E")


def fatal(sqlstate: str, text: str, *, detail: str | None = None, hint: str | None = None) -> bytes:
    return report("FATAL", sqlstate, text, detail=detail, hint=hint).encode(b"E")


def refuse(sqlstate: str, text: str, *, detail: str | None = None, hint: str | None = None) -> Refused:
    """A refusal that is the protocol's own, not policy's."""
    return Refused(report("ERROR", sqlstate, text, detail=detail, hint=hint))
