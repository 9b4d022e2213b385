"""Credentials of the run attempts in this process: issued when first needed, kept until they end, never stored."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from taskgate.client import (
    Approval,
    AsyncClient,
    Client,
    IssuedCredential,
    NotAuthenticated,
    PrefectRun,
)
from taskgate_prefect.gateway import GatewayAccess
from taskgate_prefect.run_attempt import RunAttempt, current_attempt

_RENEWED_BEFORE = timedelta(seconds=30)
_NEW = 5.0


@dataclass(frozen=True, slots=True)
class AttemptCredential:
    """One credential, and how to ask the gateway about its attempt with it."""

    access: GatewayAccess
    attempt: RunAttempt
    issued: IssuedCredential
    received: float = field(default_factory=time.monotonic)

    def is_new(self) -> bool:
        """It came a moment ago: what does not work with it does not work with another."""
        return time.monotonic() - self.received < _NEW

    def ended(self) -> bool:
        return self.issued.expires_at - datetime.now(UTC) < _RENEWED_BEFORE

    def client(self, timeout: float = 10.0, tries: int = 4) -> Client:
        return Client(self.access.url, self._bearer(), ca_file=self.access.ca_file, timeout=timeout, tries=tries)

    def async_client(self, timeout: float = 10.0, tries: int = 4) -> AsyncClient:
        return AsyncClient(self.access.url, self._bearer(), ca_file=self.access.ca_file, timeout=timeout, tries=tries)

    def __reduce__(self) -> str:
        raise TypeError("a credential is not pickled: each process asks for its own")

    def _bearer(self) -> str:
        return f"{self.issued.user}.{self.issued.password.get_secret_value()}"


_Key = tuple[str, str, str, RunAttempt]


class AttemptCredentials:
    """Of each (gateway, target, run attempt) the newest. Two threads of one attempt may each get one at first; both
    work."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # `forget` may run wherever Python collects garbage
        self._newest: dict[_Key, AttemptCredential] = {}
        self._sessions: dict[RunAttempt, set[str]] = {}

    def current(
        self, access: GatewayAccess, target: str, attempt: RunAttempt, *, after: AttemptCredential | None = None
    ) -> AttemptCredential:
        """Asks the gateway where there is none yet, where it has ended, or where it is `after`, which did not work.
        Raises TaskgateApiError."""
        if (found := self._found(access, target, attempt, after)) is not None:
            return found
        with access.client() as client:
            if access.run_token:
                claim = _claim(access, attempt)
                issued = client.issue_run_credential(
                    target,
                    flow_run_id=claim.flow_run_id,
                    task_run_id=claim.task_run_id,
                    run_count=claim.run_count,
                )
            else:
                issued = client.issue_credential(target, principal=_claim(access, attempt))
        return self._keep(access, target, attempt, issued)

    async def acurrent(
        self, access: GatewayAccess, target: str, attempt: RunAttempt, *, after: AttemptCredential | None = None
    ) -> AttemptCredential:
        """As `current`."""
        if (found := self._found(access, target, attempt, after)) is not None:
            return found
        async with access.async_client() as client:
            if access.run_token:
                claim = _claim(access, attempt)
                issued = await client.issue_run_credential(
                    target,
                    flow_run_id=claim.flow_run_id,
                    task_run_id=claim.task_run_id,
                    run_count=claim.run_count,
                )
            else:
                issued = await client.issue_credential(target, principal=_claim(access, attempt))
        return self._keep(access, target, attempt, issued)

    def of(self, attempt: RunAttempt) -> list[AttemptCredential]:
        """All that an attempt has, oldest first; of a flow's body those of its tasks too."""
        with self._lock:
            return [found for key, found in dict(self._newest).items() if attempt.includes(key[-1])]

    def of_current(self) -> list[AttemptCredential]:
        """As `of`, of the run that this code is part of. Raises NotInRun."""
        return self.of(current_attempt())

    def newest(self, attempt: RunAttempt, target: str) -> AttemptCredential | None:
        """The attempt's own, whichever gateway has issued it."""
        found = [one for one in self.of(attempt) if one.attempt == attempt and one.issued.target == target]
        return found[-1] if found else None

    def first_seen(self, attempt: RunAttempt, session_id: str) -> bool:
        """Whether this was not asked before."""
        with self._lock:
            seen = self._sessions.setdefault(attempt, set())
            return session_id not in seen and not seen.add(session_id)  # type: ignore[func-returns-value]

    def forget(self, attempt: RunAttempt) -> None:
        """What an attempt had, and of a flow's body what its tasks had."""
        with self._lock:
            for key in [key for key in dict(self._newest) if attempt.includes(key[-1])]:
                del self._newest[key]
            for one in [one for one in dict(self._sessions) if attempt.includes(one)]:
                del self._sessions[one]

    def approval(self, credential: AttemptCredential, approval_id: str) -> Approval:
        """One that was asked for in the name of the credential's flow run. Raises TaskgateApiError (NotFound for any
        other)."""
        try:
            return _look(credential, approval_id)
        except NotAuthenticated:
            fresh = self.current(credential.access, credential.issued.target, credential.attempt, after=credential)
            return _look(fresh, approval_id)

    async def aapproval(self, credential: AttemptCredential, approval_id: str) -> Approval:
        """As `approval`."""
        try:
            return await _alook(credential, approval_id)
        except NotAuthenticated:
            fresh = await self.acurrent(
                credential.access, credential.issued.target, credential.attempt, after=credential
            )
            return await _alook(fresh, approval_id)

    def _found(
        self, access: GatewayAccess, target: str, attempt: RunAttempt, after: AttemptCredential | None
    ) -> AttemptCredential | None:
        with self._lock:
            found = self._newest.get((access.url, access.source, target, attempt))
        if found is None or found.ended() or (after is not None and found.issued.id == after.issued.id):
            return None
        return found

    def _keep(
        self, access: GatewayAccess, target: str, attempt: RunAttempt, issued: IssuedCredential
    ) -> AttemptCredential:
        credential = AttemptCredential(access, attempt, issued)
        with self._lock:
            self._newest[access.url, access.source, target, attempt] = credential
        return credential


in_this_process = AttemptCredentials()


def _claim(access: GatewayAccess, attempt: RunAttempt) -> PrefectRun:
    task_run_id = str(attempt.task_run_id) if attempt.task_run_id else None
    return PrefectRun(
        source=access.source,
        flow_run_id=str(attempt.flow_run_id),
        task_run_id=task_run_id,
        run_count=attempt.run_count,
    )


def _look(credential: AttemptCredential, approval_id: str) -> Approval:
    with credential.client() as client:
        return client.attempt_approval(approval_id)


async def _alook(credential: AttemptCredential, approval_id: str) -> Approval:
    async with credential.async_client() as client:
        return await client.attempt_approval(approval_id)
