"""What the gateway asks of any orchestrator about attempts that it has issued something to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.over import Over
from taskgate.store.attempts import KnownAttempt


class Source(Protocol):
    """One orchestrator. `name` is what policy knows it by; `check_interval` seconds lie between two looks at an
    attempt, and one that could not be looked at for `lost_after` seconds counts as over."""

    @property
    def name(self) -> str: ...
    @property
    def check_interval(self) -> float: ...
    @property
    def lost_after(self) -> float: ...

    async def overs(self, attempts: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        """By the attempt's id, how it ended; None while it lives. What has no entry could not be looked at. Raises
        OrchestratorAway where nothing is answered at all."""

    async def gone(self, waiting: Mapping[TaskKey, KnownAttempt | None]) -> Mapping[TaskKey, str]:
        """Of tasks that wait for a decision (with the last attempt of each that was seen), those that will not come
        back for it, and why. Raises OrchestratorAway."""
