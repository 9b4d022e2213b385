"""How an attempt ended, as far as it matters to what it holds and has asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    FINISHED = "finished"  # in a final state: nobody comes back
    RETRIED = "retried"  # another try has taken its place, or will
    CLEARED = "cleared"  # somebody started the task over
    GONE = "gone"  # its orchestrator knows of no such task any more


@dataclass(frozen=True, slots=True)
class Over:
    """An attempt that has ended. `withdraws`: what it has asked people for is of no use to anybody."""

    ending: Ending
    because: str

    @property
    def withdraws(self) -> bool:
        return self.ending is not Ending.RETRIED
