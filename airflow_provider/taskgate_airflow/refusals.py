"""A refusal of the gateway as a PostgreSQL driver raises it, read back into what an operator needs.

The gateway's error is SQLSTATE 42501 whose DETAIL holds one `name=value` a line; `approval=apr_…` stands there when a
human was asked. Works with psycopg 3 and psycopg2, whose errors both carry `diag`.
"""

from __future__ import annotations

import re

_INSUFFICIENT_PRIVILEGE = "42501"
_APPROVAL = re.compile(r"^\s*approval\s*[=:]\s*(apr_[A-Za-z0-9_-]+)\s*$", re.MULTILINE)


class ApprovalPending(Exception):
    """The statement did not run: a human was asked. Once they approve, running it again will find the grant.

    `approvals` are the requests' ids, one a statement that was refused."""

    def __init__(self, approvals: tuple[str, ...], refusal: str) -> None:
        super().__init__(refusal)
        self.approvals = approvals


def approval_id(error: BaseException) -> str | None:
    """The approval's id in a driver's error; None for any other error."""
    diagnostics = getattr(error, "diag", None)
    if diagnostics is None or getattr(diagnostics, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
        return None
    found = _APPROVAL.search(getattr(diagnostics, "message_detail", None) or "")
    return found[1] if found else None


def refusal_text(error: BaseException) -> str:
    """The refusal as people should read it: message, DETAIL, HINT."""
    diagnostics = getattr(error, "diag", None)
    parts = [getattr(diagnostics, name, None) for name in ("message_primary", "message_detail", "message_hint")]
    return "\n".join(part for part in parts if part) or str(error)
