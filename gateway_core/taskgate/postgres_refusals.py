"""A refusal of the gateway as a PostgreSQL driver raises it, read back into what a task needs.

The gateway's error is SQLSTATE 42501 whose DETAIL holds one `name=value` a line; `approval=apr_…` stands there when a
human was asked. Works with psycopg 3, psycopg2 and asyncpg, and with what SQLAlchemy and others wrap around their
errors. For orchestrator packages: nothing but the standard library is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_INSUFFICIENT_PRIVILEGE = "42501"
_APPROVAL = re.compile(r"^\s*approval\s*[=:]\s*(apr_[A-Za-z0-9_-]+)\s*$", re.MULTILINE)
_SESSION = re.compile(r"^\s*session\s*=\s*(ses_[A-Za-z0-9_-]+)\s*$", re.MULTILINE)
_LEADING_ON = frozenset({"rule", "session", "approval", "url"})
_DEEPEST = 20


class ApprovalPending(Exception):
    """The statement did not run: a human was asked. Once they approve, running it again will find the grant.

    `approvals` are the requests' ids, one a statement that was refused."""

    def __init__(self, approvals: tuple[str, ...], refusal: str) -> None:
        super().__init__(refusal)
        self.approvals = approvals

    def __reduce__(self) -> tuple[type[ApprovalPending], tuple[tuple[str, ...], str]]:
        return type(self), (self.approvals, str(self))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the gateway said, for a reader. `text` is its message and hint on one line; `facts` are the lines of its
    DETAIL that lead on: `rule`, `session`, `approval`, `url`."""

    text: str
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class _ServerError:
    """What the server said, whichever driver carried it."""

    sqlstate: str | None
    message: str | None
    detail: str | None
    hint: str | None


def refusals_in(error: BaseException) -> list[Refusal]:
    """The gateway's refusals that an error stands for, or that were being handled when it was raised."""
    found: list[Refusal] = []
    for one in _server_errors(error, handled=True):
        detail = one.detail or ""
        if not _SESSION.search(detail):
            continue
        text = " ".join(_sentence(" ".join(word.split())) for word in (one.message, one.hint) if word)
        facts: dict[str, str] = {}
        for name, _, value in (line.partition("=") for line in detail.splitlines()):
            if name in _LEADING_ON:
                facts[name] = f"{facts[name]}, {value}" if name in facts else value
        found.append(Refusal(text.removeprefix("taskgate: "), facts))
    return found


def approval_id(error: BaseException) -> str | None:
    """The approval's id in a driver's error; None for any other error."""
    return _found(_APPROVAL, error)


def session_in(error: BaseException) -> str | None:
    """The gateway's session in its refusal; None for any other error."""
    return _found(_SESSION, error)


def allowed_unasked(error: BaseException) -> bool:
    """Whether this refuses only since nothing is changed in a session that asks (`taskgate.wait=ask`): the statement
    needs nobody's approval."""
    server = _first(error)
    if server is None or server.sqlstate != _INSUFFICIENT_PRIVILEGE:
        return False
    lines = (server.detail or "").splitlines()
    return "verdict=allow" in lines and _SESSION.search(server.detail or "") is not None


def refusal_text(error: BaseException) -> str:
    """The refusal as people should read it: message, DETAIL, HINT."""
    server = _first(error)
    parts = [server.message, server.detail, server.hint] if server else []
    return "\n".join(part for part in parts if part) or str(error)


def _found(pattern: re.Pattern[str], error: BaseException) -> str | None:
    server = _first(error)
    if server is None or server.sqlstate != _INSUFFICIENT_PRIVILEGE:
        return None
    found = pattern.search(server.detail or "")
    return found[1] if found else None


def _sentence(text: str) -> str:
    return text if text[-1:] in ".?!:;" or "://" in text.rpartition(" ")[2] else f"{text}."


def _first(error: BaseException) -> _ServerError | None:
    return next(_server_errors(error), None)


def _server_errors(error: BaseException, *, handled: bool = False) -> Iterator[_ServerError]:
    return (said for one in _chain(error, handled=handled) if (said := _as_said(one)) is not None)


def _as_said(error: Any) -> _ServerError | None:
    """psycopg's errors carry `diag`, asyncpg's the fields themselves. What SQLAlchemy puts around asyncpg's has some
    of these fields but neither message nor hint: it is passed over for the error below it."""
    if (diagnostics := getattr(error, "diag", None)) is not None:
        names = ("sqlstate", "message_primary", "message_detail", "message_hint")
        return _ServerError(*(getattr(diagnostics, name, None) for name in names))
    if hasattr(error, "sqlstate") and hasattr(error, "hint"):
        return _ServerError(error.sqlstate, str(error.args[0]) if error.args else None, error.detail, error.hint)
    return None


def _chain(error: BaseException, *, handled: bool = False) -> Iterator[BaseException]:
    """The error and what it stands for: SQLAlchemy's `orig`, and causes. What merely was being handled as well where
    `handled`."""
    one: BaseException | None = error
    for _ in range(_DEEPEST):
        if one is None:
            return
        yield one
        original = getattr(one, "orig", None)
        if isinstance(original, BaseException):
            one = original
        else:
            one = one.__cause__ or (one.__context__ if handled else None)
