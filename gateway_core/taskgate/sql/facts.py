"""A statement's facts together with what it does to the session's own names."""

from __future__ import annotations

from dataclasses import dataclass

from taskgate.domain import Facts
from taskgate.sql.names import NameChange


@dataclass(frozen=True, slots=True)
class StatementFacts(Facts):
    """`name_changes` are to be staged with `SessionNames.stage` when the statement is forwarded."""

    name_changes: tuple[NameChange, ...] = ()
