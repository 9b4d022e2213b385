"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but it is weaker than it looks, or somebody should know
    FAIL = "fail"  # tasks are refused, or something leads around the gateway


@dataclass(frozen=True, slots=True)
class Finding:
    """`do` is what to change; nothing where it is well."""

    check: str
    level: Level
    found: str
    do: str | None = None
