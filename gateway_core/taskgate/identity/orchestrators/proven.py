"""A task as well known as its orchestrator makes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from taskgate.domain import Principal


@dataclass(frozen=True, slots=True)
class ProvenTask:
    """A task attempt, as well known as `principal.assurance` says. `confined_until`: it is over, and its callbacks may
    read until then. `looked_after`: its end is noticed, whoever ends it. `registration` proves it: nothing is issued
    once that has ended."""

    principal: Principal
    confined_until: datetime | None = None
    looked_after: bool = True
    registration: str | None = None
