"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from taskgate.client import calls, models
from taskgate.client.calls import SessionFilter
from taskgate.client.connection import USER_AGENT, ConnectionSettings
from taskgate.client.errors import StillPending
from taskgate.client.exchange import Call, Result, check, retry_after, unreachable
from taskgate.domain import ApprovalState


class Client:
    """The control API for synchronous code. Thread-safe; use it as a context manager or `close()` it.

        with Client() as gateway:
            credential = gateway.issue_credential("orders-db", principal=TaskClaim(...))

    Address and key come from the arguments or the environment (`ConnectionSettings.resolve`). Every method raises a
    `TaskgateApiError`. `timeout` in seconds for each try; `tries` counts the first one; `transport` is for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        ca_file: str | None = None,
        allow_plain_http: bool | None = None,
        timeout: float = 10.0,
        tries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        settings = ConnectionSettings.resolve(url, api_key, ca_file=ca_file, allow_plain_http=allow_plain_http)
        self.url = settings.url
        self._timeout = timeout
        self._tries = max(1, tries)
        self._http = httpx.Client(
            base_url=settings.url,
            auth=settings.auth,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            verify=settings.verify(),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _send(self, call: Call[Result]) -> Result:
        with self._answer(call) as response:
            response.read()
            check(response)
            return call.parse(response)

    @contextmanager
    def _answer(self, call: Call[Result]) -> Iterator[httpx.Response]:
        """The answer to `call`, its body not yet read, after as many tries as it takes and may take."""
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.query,
            content=call.content(),
            headers=call.headers(),
            timeout=httpx.Timeout(self._timeout, read=call.read_timeout(self._timeout)),
        )
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._http.send(request, stream=True)
            except httpx.HTTPError as error:
                pause = retry_after(call, attempt, error) if attempt < self._tries else None
                if pause is None:
                    raise unreachable(error, self.url) from error
            else:
                pause = retry_after(call, attempt, response) if attempt < self._tries else None
                if pause is None:
                    break
                response.close()
            time.sleep(pause)
        try:
            yield response
        except httpx.HTTPError as error:
            raise unreachable(error, self.url) from error
        finally:
            response.close()

    def _pages(self, page: Callable[[str | None], Call[models.Page[models.Item]]]) -> Iterator[models.Item]:
        cursor: str | None = None
        while True:
            answer = self._send(page(cursor))
            yield from answer.items
            cursor = answer.next_cursor
            if cursor is None:
                return

    # --- who asks, is it up --------------------------------------------------------------------------------------

    def whoami(self) -> models.WhoAmI:
        return self._send(calls.whoami())

    def readiness(self) -> models.Readiness:
        """Raises Unavailable (with the failing checks in `problem`) while the gateway is not ready."""
        return self._send(calls.readiness())

    # --- targets and credentials ---------------------------------------------------------------------------------

    def targets(self) -> Iterator[models.Target]:
        return self._pages(lambda cursor: calls.targets(cursor, None))

    def target(self, name: str) -> models.Target:
        return self._send(calls.target(name))

    def issue_credential(
        self, target: str, *, ttl: float | None = None, principal: models.AskedFor | None = None
    ) -> models.IssuedCredential:
        """A credential for a task attempt, or without `principal` for the holder of the key. `ttl` in seconds."""
        return self._send(calls.issue_credential(target, ttl, principal))

    def register_run(self, source: str, flow_run_id: str, *, job_variables: Sequence[str] = ()) -> models.RegisteredRun:
        """For a worker that is about to start the run: its one-time secret. What was registered for it before ends.
        `job_variables`: the names of those that the run sets and that the worker starts it with."""
        return self._send(calls.register_run(source, flow_run_id, job_variables))

    def exchange_run_secret(self) -> models.RunToken:
        """The token of the flow run whose one-time secret is this client's key. Raises NotPermitted (`run_secret_used`)
        where it was used before: then everything the run was issued is revoked."""
        return self._send(calls.exchange_run_secret())

    def issue_run_credential(
        self, target: str, *, flow_run_id: str | None = None, task_run_id: str | None = None, run_count: int = 1,
        ttl: float | None = None,
    ) -> models.IssuedCredential:  # fmt: skip
        """A credential for a task run of the flow run whose token is this client's key, or for that run itself, or of a
        subflow `flow_run_id` of it. `run_count`: which try of the task run (of the flow run) this is."""
        request = models.RunCredentialRequest(
            target=target, ttl=ttl, flow_run_id=flow_run_id, task_run_id=task_run_id, run_count=run_count
        )
        return self._send(calls.issue_run_credential(request))

    def credentials(
        self, *, target: str | None = None, attempt: str | None = None, live: bool | None = None
    ) -> Iterator[models.Credential]:
        """Newest first. `live`: neither expired nor revoked."""
        return self._pages(lambda cursor: calls.credentials(cursor, None, target=target, attempt=attempt, live=live))

    def credential(self, credential_id: str) -> models.Credential:
        return self._send(calls.credential(credential_id))

    def revoke_credential(self, credential_id: str, reason: str = "") -> models.Credential:
        """Its live sessions end within a second. Revoking twice is no error."""
        return self._send(calls.revoke_credential(credential_id, reason))

    def revoke_attempt(self, attempt_id: str, reason: str = "") -> int:
        """End every live credential of a task attempt (of those this key may revoke); returns how many there were."""
        return (self._send(calls.revoke_attempt(attempt_id, reason))).revoked

    def attempts_posted(self, source: str, attempts: Sequence[str]) -> int:
        """Tell that these task instances have just told their Airflow how they ended; returns how many are known."""
        request = models.AttemptsPosted(source=source, attempts=list(attempts))
        return (self._send(calls.attempts_posted(request))).known

    # --- approvals -----------------------------------------------------------------------------------------------

    def approvals(
        self,
        *,
        state: Sequence[str] = (),
        target: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        session: str | None = None,
        mine: bool | None = None,
    ) -> Iterator[models.Approval]:
        """Newest first. `mine`: only those the asking key may decide."""
        return self._pages(
            lambda cursor: calls.approvals(
                cursor,
                None,
                state=state,
                target=target,
                dag_id=dag_id,
                run_id=run_id,
                task_id=task_id,
                session=session,
                mine=mine,
            )
        )

    def approval(self, approval_id: str, *, wait: float = 0.0) -> models.Approval:
        """With `wait`, answers as soon as it is no longer pending, or after that many seconds (at most 60)."""
        return self._send(calls.approval(approval_id, wait))

    def wait_for_approval(self, approval_id: str, timeout: float | None = None) -> models.Approval:
        """The approval once it is decided, expired or withdrawn. Raises StillPending after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = calls.LONGEST_WAIT if deadline is None else max(0.0, deadline - time.monotonic())
            started = time.monotonic()
            approval = self.approval(approval_id, wait=min(left, calls.LONGEST_WAIT))
            if approval.state is not ApprovalState.PENDING:
                return approval
            if deadline is not None and time.monotonic() >= deadline:
                raise StillPending(f"nobody has decided {approval_id} yet")
            if time.monotonic() - started < 1.0:  # a server that does not hold the poll must not be hammered
                time.sleep(1.0)

    def approval_states(self, approval_ids: Sequence[str]) -> dict[str, ApprovalState]:
        """How these stand now, by id; those that there are not are left out."""
        states: dict[str, ApprovalState] = {}
        for start in range(0, len(approval_ids), calls.MOST_STATES):
            answer = self._send(calls.approval_states(approval_ids[start : start + calls.MOST_STATES]))
            states |= {item.id: item.state for item in answer.items}
        return states

    def approval_parameters(self, approval_id: str) -> models.ApprovalParameters:
        """The bound parameters, for those entitled to decide; that they were looked at is recorded."""
        return self._send(calls.approval_parameters(approval_id))

    def approve(self, approval_id: str, comment: str | None = None) -> models.Approval:
        return self._send(calls.decide(approval_id, True, comment))

    def deny(self, approval_id: str, comment: str | None = None) -> models.Approval:
        return self._send(calls.decide(approval_id, False, comment))

    # --- a task about itself -------------------------------------------------------------------------------------

    def attempt(self) -> models.AttemptReport:
        """The attempt whose credential (`<user>.<password>`) is this client's key: its sessions and approvals."""
        return self._send(calls.attempt())

    def attempt_approval(self, approval_id: str) -> models.Approval:
        """One of the approvals of the task whose credential is this client's key. Raises NotFound for any other."""
        return self._send(calls.attempt_approval(approval_id))

    def attempt_airflow_page(self, approval_id: str) -> models.AirflowPage:
        """What the task's row on Airflow's own page has to hold for an answer there to count. Raises NotFound where
        that page does not decide this one."""
        return self._send(calls.attempt_airflow_page(approval_id))

    # --- sessions ------------------------------------------------------------------------------------------------

    def sessions(self, chosen: SessionFilter | None = None) -> Iterator[models.Session]:
        """Newest first."""
        return self._pages(lambda cursor: calls.sessions(cursor, None, chosen or SessionFilter()))

    def sessions_page(
        self, chosen: SessionFilter | None = None, *, cursor: str | None = None, limit: int | None = None
    ) -> models.Page[models.Session]:
        """Some of `sessions`, to go on from `next_cursor`; `limit` at most 500."""
        return self._send(calls.sessions(cursor, limit, chosen or SessionFilter()))

    def session(self, session_id: str) -> models.Session:
        return self._send(calls.session(session_id))

    def records(self, session_id: str) -> Iterator[models.Record]:
        """In the order they happened."""
        return self._pages(lambda cursor: calls.records(session_id, cursor, None))

    def verification(self, session_id: str) -> models.Verification:
        return self._send(calls.verification(session_id))

    def live_sessions(self) -> list[models.LiveSession]:
        return self._send(calls.live_sessions()).items

    def kill_session(self, session_id: str, reason: str = "") -> None:
        """Both sides are closed within a second, whichever process holds the session."""
        self._send(calls.kill_session(session_id, reason))

    def export(
        self,
        destination: Path,
        *,
        sessions: Sequence[str] = (),
        chosen: SessionFilter | None = None,
        headers_only: bool = False,
    ) -> int:
        """Writes a bundle (zip) that `taskgate verify` reads offline; returns its bytes. `headers_only`: proof without
        what was done. Only its owner may read the file; never leaves half of one."""
        partial = destination.with_name(destination.name + ".partial")
        written = 0
        partial.touch(mode=0o600)
        try:
            with self._answer(calls.export(sessions, chosen or SessionFilter(), headers_only)) as response:
                if not response.is_success:
                    response.read()
                check(response)
                with partial.open("wb") as file:
                    for chunk in response.iter_bytes():
                        written += file.write(chunk)
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        return written

    # --- policy and API keys -------------------------------------------------------------------------------------

    def policy(self) -> models.PolicyStatus:
        return self._send(calls.policy())

    def policy_sources(self) -> models.PolicySources:
        return self._send(calls.policy_sources())

    def explain(self, request: models.ExplainRequest) -> models.Explanation:
        return self._send(calls.explain(request))

    def api_keys(self, *, live: bool | None = None) -> Iterator[models.ApiKey]:
        """Newest first. `live` false: those that have expired or been revoked as well."""
        return self._pages(lambda cursor: calls.api_keys(cursor, None, live))

    def create_api_key(self, request: models.ApiKeyRequest) -> models.CreatedApiKey:
        return self._send(calls.create_api_key(request))

    def revoke_api_key(self, key_id: str, reason: str = "") -> models.ApiKey:
        return self._send(calls.revoke_api_key(key_id, reason))
