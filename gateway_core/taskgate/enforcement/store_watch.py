"""Tells a store that is away from a process that stood still: only the first is a reason to end everybody's session."""

from __future__ import annotations

from taskgate.enforcement.services import STORE_LOST_AFTER

INTERVAL = 0.5
"""Seconds between two looks."""

_STOOD_STILL = 4 * INTERVAL


class StoreWatch:
    """`now` and `last_contact` on the monotonic clock."""

    def __init__(self, now: float) -> None:
        self._looked = now

    def lost(self, now: float, last_contact: float) -> bool:
        """Whether the store has been silent for too long although it was being asked."""
        stood_still = now - self._looked > _STOOD_STILL
        self._looked = now
        return not stood_still and now - last_contact > STORE_LOST_AFTER
