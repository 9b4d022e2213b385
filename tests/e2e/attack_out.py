"""What the attack DAGs have noted (`attack_dags/attack_record.py`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Noted:
    what: str
    ok: bool
    at: float  # seconds since the epoch
    fields: dict[str, Any]

    @property
    def error(self) -> str:
        text: str = self.fields.get("error", "")
        return text


@dataclass(frozen=True, slots=True)
class AttackOut:
    directory: Path

    def of(self, run_id: str, what: str | None = None) -> list[Noted]:
        """In order; of one kind of thing only, if one is named."""
        file = self.directory / f"{run_id}.jsonl"
        if not file.exists():
            return []
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return [Noted(one["what"], one["ok"], one["at"], one) for one in found if what in (None, one["what"])]

    def outcomes(self, run_id: str) -> dict[str, bool]:
        """what → how it went the last time."""
        return {one.what: one.ok for one in self.of(run_id)}
