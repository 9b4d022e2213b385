"""What every session of a process shares. Made once by the gateway, handed to the gate and its sessions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskgate.enforcement.cancel_routing import CancelRouting
    from taskgate.enforcement.decisions import DecisionScopes
    from taskgate.enforcement.parking import Parking
    from taskgate.identity.credentials import Credentials
    from taskgate.metrics import Metrics
    from taskgate.policy.holder import PolicyHolder
    from taskgate.policy.policy_set import PolicySet
    from taskgate.recording.recorder import Recorder
    from taskgate.recording.session_recording import SessionRecording
    from taskgate.store.sessions import SessionIndex
    from taskgate.store.signals import Signals

STORE_LOST_AFTER = 5.0
"""Seconds without the store after which live sessions end and nobody new is let in."""


@dataclass(frozen=True, slots=True)
class Services:
    """`own_recording` is the process's own: what happens before there is a session goes there."""

    policy: PolicyHolder
    scopes: DecisionScopes
    parking: Parking
    cancels: CancelRouting
    recorder: Recorder
    own_recording: SessionRecording
    credentials: Credentials
    index: SessionIndex
    signals: Signals
    metrics: Metrics
    _kept: set[str] = field(default_factory=set)

    def keep_text(self, policy: PolicySet) -> None:
        """A reviewer reads the very policy by which something was decided: its text is on disk before anything is.
        Raises JournalFault."""
        if policy.version not in self._kept:
            self.recorder.policy_text(policy.version, policy.sources)
            self._kept.add(policy.version)

    @property
    def store_lost(self) -> bool:
        """Revocations could not be heard of for too long. Whatever needs the store fails at once without it anyway;
        this is about what does not."""
        return time.monotonic() - self.signals.last_contact > STORE_LOST_AFTER
