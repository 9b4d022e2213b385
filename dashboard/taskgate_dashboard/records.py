"""A session's records as steps a person can follow: each action with its verdict and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from taskgate.client.models import Record

Kind = Literal["ran", "refused", "asked", "decided", "event", "opened", "closed"]
_KINDS: dict[str, Kind] = {
    "action": "ran",
    "refused": "refused",
    "parked": "asked",
    "decided": "decided",
    "session_opened": "opened",
    "session_closed": "closed",
}


@dataclass(slots=True)
class Step:
    """One thing that happened. `result` is how an action ended; None: not yet, or the session ended first."""

    kind: Kind
    sequence: int
    at: datetime
    content: dict[str, Any]
    hash: str | None
    result: dict[str, Any] | None = None
    row_records: int = 0
    missing: bool = field(default=False)  # the recording level left the content out, or it was erased

    @property
    def text(self) -> str | None:
        found = self.content.get("text")
        if found is None and isinstance(self.content.get("action"), dict):
            found = self.content["action"].get("text")
        return found if isinstance(found, str) else None

    @property
    def pairs(self) -> list[str]:
        action = self.content.get("action")
        source = action if isinstance(action, dict) else self.content
        return [str(pair) for pair in source.get("pairs") or []]

    @property
    def rules(self) -> list[str]:
        action = self.content.get("action")
        source = action if isinstance(action, dict) else self.content
        return [str(rule.get("rule")) if isinstance(rule, dict) else str(rule) for rule in source.get("rules") or []]

    @property
    def approval_id(self) -> str | None:
        found = self.content.get("approval_id") or self.content.get("approval")
        return str(found) if found else None

    @property
    def masked(self) -> dict[str, int]:
        return dict((self.result or {}).get("masked") or {})

    @property
    def seconds(self) -> float | None:
        elapsed = (self.result or {}).get("elapsed_us")
        return elapsed / 1_000_000 if isinstance(elapsed, int | float) else None


def steps(records: Iterable[Record]) -> list[Step]:
    """In order. Results and row records are folded into the action they belong to."""
    found: list[Step] = []
    actions: dict[int, Step] = {}
    for record in records:
        content = record.content or {}
        action = content.get("action")
        if record.kind in ("result", "rows") and isinstance(action, int) and action in actions:
            if record.kind == "result":
                actions[action].result = content
            else:
                actions[action].row_records += 1
            continue
        step = Step(
            _KINDS.get(record.kind, "event"),
            record.sequence,
            record.at,
            content,
            record.hash,
            missing=record.content is None,
        )
        found.append(step)
        if step.kind == "ran":
            actions[record.sequence] = step
    return found
