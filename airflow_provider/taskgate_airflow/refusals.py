"""A refusal of the gateway as a PostgreSQL driver raises it, read back into what an operator needs.

The gateway's error is SQLSTATE 42501 whose DETAIL holds one `name=value` a line; `approval=apr_…` stands there when a
human was asked. Works with psycopg 3 and psycopg2, whose errors both carry `diag`, and with what SQLAlchemy and others
wrap around them.
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the gateway said, for a reader. `text` is its message and hint on one line; `facts` are the lines of its
    DETAIL that lead on: `rule`, `session`, `approval`, `url`."""

    text: str
    facts: dict[str, str]


def refusals_in(error: BaseException) -> list[Refusal]:
    """The gateway's refusals that an error stands for, or that were being handled when it was raised."""
    found: list[Refusal] = []
    for one in _chain(error, handled=True):
        diagnostics = getattr(one, "diag", None)
        detail = getattr(diagnostics, "message_detail", None) or ""
        if diagnostics is None or not _SESSION.search(detail):
            continue
        words = [getattr(diagnostics, name, None) for name in ("message_primary", "message_hint")]
        text = " ".join(_sentence(" ".join(word.split())) for word in words if word).removeprefix("taskgate: ")
        facts: dict[str, str] = {}
        for name, _, value in (line.partition("=") for line in detail.splitlines()):
            if name in _LEADING_ON:
                facts[name] = f"{facts[name]}, {value}" if name in facts else value
        found.append(Refusal(text, facts))
    return found


def approval_id(error: BaseException) -> str | None:
    """The approval's id in a driver's error; None for any other error."""
    return _found(_APPROVAL, error)


def session_in(error: BaseException) -> str | None:
    """The gateway's session in its refusal; None for any other error."""
    return _found(_SESSION, error)


def refusal_text(error: BaseException) -> str:
    """The refusal as people should read it: message, DETAIL, HINT."""
    diagnostics = _diagnostics(error)
    parts = [getattr(diagnostics, name, None) for name in ("message_primary", "message_detail", "message_hint")]
    return "\n".join(part for part in parts if part) or str(error)


def _found(pattern: re.Pattern[str], error: BaseException) -> str | None:
    diagnostics = _diagnostics(error)
    if diagnostics is None or getattr(diagnostics, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
        return None
    found = pattern.search(getattr(diagnostics, "message_detail", None) or "")
    return found[1] if found else None


def _sentence(text: str) -> str:
    return text if text[-1:] in ".?!:;" or "://" in text.rpartition(" ")[2] else f"{text}."


def _diagnostics(error: BaseException) -> Any:
    return next((one.diag for one in _chain(error) if hasattr(one, "diag")), None)


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
