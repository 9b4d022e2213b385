"""What the control API needs of the gateway, and nothing else. `taskgate.gateway.Gateway` is it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from taskgate.domain import Principal, Target

if TYPE_CHECKING:
    from taskgate.approvals.airflow_answers import AirflowAnswers
    from taskgate.approvals.requests import Approvals
    from taskgate.identity.api_keys import ApiKeys
    from taskgate.identity.credentials import Credentials
    from taskgate.identity.orchestrators.orchestrators import Orchestrators
    from taskgate.metrics import Metrics
    from taskgate.policy.holder import PolicyHolder
    from taskgate.recording.recordings import Recordings
    from taskgate.sql.catalog import Catalog
    from taskgate.store.sessions import SessionIndex


@dataclass(frozen=True, slots=True)
class Check:
    """Whether something the gateway needs is there. `reason` is for operators; `/readyz` shows it to anybody, so it
    names no host, path or person."""

    ok: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that this process holds open. `parked`: it waits for a human."""

    id: str
    principal: Principal
    target: str
    protocol: str
    client_address: str
    opened_at: datetime
    actions: int
    parked: bool = False


class LiveSessions(Protocol):
    def list(self) -> Sequence[LiveSession]:
        """Those of this process."""

    async def kill(self, session_id: str, by: str, reason: str) -> None:
        """End the session, whichever process holds it: known to all of them when this returns. Raises StoreFault."""


class ControlPlane(Protocol):
    """One gateway process. Everything here belongs to its event loop."""

    @property
    def targets(self) -> Mapping[str, Target]: ...
    @property
    def endpoints(self) -> Mapping[str, tuple[str, int]]:
        """Host and port that clients connect to, by protocol."""

    @property
    def public_url(self) -> str:
        """The API's own address as others reach it."""

    def approval_url(self, approval_id: str) -> str | None:
        """Where a person sees this approval: the same link that clients and notifications get. None: nowhere."""

    @property
    def default_ttl(self) -> float:
        """Seconds a credential lives when nobody says otherwise."""

    @property
    def attempt_ttl(self) -> float:
        """The same where it ends with its attempt, which the gateway looks after: as long as may be."""

    @property
    def data_dir(self) -> Path:
        """Where recordings, checkpoints and keys are; bundles for export are made here too."""

    @property
    def credentials(self) -> Credentials: ...
    @property
    def orchestrators(self) -> Orchestrators: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def sessions(self) -> SessionIndex: ...
    @property
    def live(self) -> LiveSessions: ...
    @property
    def recordings(self) -> Recordings: ...
    @property
    def policy(self) -> PolicyHolder: ...
    @property
    def metrics(self) -> Metrics: ...
    def airflow_answers(self, source: str) -> AirflowAnswers | None:
        """Airflow's own page as a place to decide, of an Airflow that the gateway knows."""

    def catalog(self, target: str) -> Catalog:
        """The target's catalogue as last read. Raises TargetFault where it could not be read."""

    async def readiness(self) -> Mapping[str, Check]:
        """Store, journal, policy, listeners, targets' catalogues: everything new sessions hang on."""
