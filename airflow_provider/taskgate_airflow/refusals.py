"""A refusal of the gateway as a PostgreSQL driver raises it, read back into what an operator needs.

The gateway's error is SQLSTATE 42501 whose DETAIL holds one `name=value` a line; `approval=apr_…` stands there when a
human was asked. Works with psycopg 3 and psycopg2, whose errors both carry `diag`, and with what SQLAlchemy and others
wrap around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_INSUFFICIENT_PRIVILEGE = "42501"
_APPROVAL = re.compile(r"^\s*approval\s*[=:]\s*(apr_[A-Za-z0-9_-]+)\s*$", re.MULTILINE)
_SESSION = re.compile(r"^\s*session\s*=\s*(ses_[A-Za-z0-9_-]+)\s*$", re.MULTILINE)
_DEEPEST = 20


class ApprovalPending(Exception):
    """The statement did not run: a human was asked. Once they approve, running it again will find the grant.

    `approvals` are the requests' ids, one a statement that was refused."""

    def __init__(self, approvals: tuple[str, ...], refusal: str) -> None:
        super().__init__(refusal)
        self.approvals = approvals


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


def _diagnostics(error: BaseException) -> Any:
    return next((one.diag for one in _chain(error) if hasattr(one, "diag")), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it stands for: SQLAlchemy's `orig`, and causes. Not what merely was being handled."""
    one: BaseException | None = error
    for _ in range(_DEEPEST):
        if one is None:
            return
        yield one
        original = getattr(one, "orig", None)
        one = original if isinstance(original, BaseException) else one.__cause__
