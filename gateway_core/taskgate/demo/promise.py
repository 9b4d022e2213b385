"""One thing that the demo promises, checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """`observed` says what was seen, held or not."""

    text: str
    held: bool
    observed: str
