"""The asynchronous client: the same methods as the synchronous one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from taskgate.client import calls, models
from taskgate.client.calls import SessionFilter
from taskgate.client.connection import USER_AGENT, ConnectionSettings
from taskgate.client.errors import ServiceFault, StillPending, UnexpectedAnswer
from taskgate.client.event_stream import approval_events
from taskgate.client.exchange import Call, Result, check, retry_after, unreachable
from taskgate.domain import ApprovalState


class AsyncClient:
    """The control API for asynchronous code; bound to one event loop. Methods, errors and settings as of `Client`.

    async with AsyncClient() as gateway:
        approval = await gateway.wait_for_approval("apr_…", timeout=600)
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = ConnectionSettings.resolve(url, api_key, ca_file=ca_file, allow_plain_http=allow_plain_http)
        self.url = settings.url
        self._timeout = timeout
        self._tries = max(1, tries)
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            auth=settings.auth,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            verify=settings.verify(),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, call: Call[Result]) -> Result:
        async with self._answer(call) as response:
            await response.aread()
            check(response)
            return call.parse(response)

    @asynccontextmanager
    async def _answer(self, call: Call[Result]) -> AsyncIterator[httpx.Response]:
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
                response = await self._http.send(request, stream=True)
            except httpx.HTTPError as error:
                pause = retry_after(call, attempt, error) if attempt < self._tries else None
                if pause is None:
                    raise unreachable(error, self.url) from error
            else:
                pause = retry_after(call, attempt, response) if attempt < self._tries else None
                if pause is None:
                    break
                await response.aclose()
            await asyncio.sleep(pause)
        try:
            yield response
        except httpx.HTTPError as error:
            raise unreachable(error, self.url) from error
        finally:
            await response.aclose()

    async def _pages(self, page: Callable[[str | None], Call[models.Page[models.Item]]]) -> AsyncIterator[models.Item]:
        cursor: str | None = None
        while True:
            answer = await self._send(page(cursor))
            for item in answer.items:
                yield item
            cursor = answer.next_cursor
            if cursor is None:
                return

    # --- who asks, is it up --------------------------------------------------------------------------------------

    async def whoami(self) -> models.WhoAmI:
        return await self._send(calls.whoami())

    async def readiness(self) -> models.Readiness:
        """Raises Unavailable (with the failing checks in `problem`) while the gateway is not ready."""
        return await self._send(calls.readiness())

    # --- targets and credentials ---------------------------------------------------------------------------------

    def targets(self) -> AsyncIterator[models.Target]:
        return self._pages(lambda cursor: calls.targets(cursor, None))

    async def target(self, name: str) -> models.Target:
        return await self._send(calls.target(name))

    async def issue_credential(
        self, target: str, *, ttl: float | None = None, principal: models.AskedFor | None = None
    ) -> models.IssuedCredential:
        """A credential for a task attempt, or without `principal` for the holder of the key. `ttl` in seconds."""
        return await self._send(calls.issue_credential(target, ttl, principal))

    async def register_run(
        self, source: str, flow_run_id: str, *, job_variables: Sequence[str] = ()
    ) -> models.RegisteredRun:
        """For a worker that is about to start the run: its one-time secret. What was registered for it before ends.
        `job_variables`: the names of those that the run sets and that the worker starts it with."""
        return await self._send(calls.register_run(source, flow_run_id, job_variables))

    async def exchange_run_secret(self) -> models.RunToken:
        """The token of the flow run whose one-time secret is this client's key. Raises NotPermitted (`run_secret_used`)
        where it was used before: then everything the run was issued is revoked."""
        return await self._send(calls.exchange_run_secret())

    async def issue_run_credential(
        self, target: str, *, flow_run_id: str | None = None, task_run_id: str | None = None, run_count: int = 1,
        ttl: float | None = None,
    ) -> models.IssuedCredential:  # fmt: skip
        """A credential for a task run of the flow run whose token is this client's key, or for that run itself, or of a
        subflow `flow_run_id` of it. `run_count`: which try of the task run (of the flow run) this is."""
        request = models.RunCredentialRequest(
            target=target, ttl=ttl, flow_run_id=flow_run_id, task_run_id=task_run_id, run_count=run_count
        )
        return await self._send(calls.issue_run_credential(request))

    def credentials(
        self, *, target: str | None = None, attempt: str | None = None, live: bool | None = None
    ) -> AsyncIterator[models.Credential]:
        """Newest first. `live`: neither expired nor revoked."""
        return self._pages(lambda cursor: calls.credentials(cursor, None, target=target, attempt=attempt, live=live))

    async def credential(self, credential_id: str) -> models.Credential:
        return await self._send(calls.credential(credential_id))

    async def revoke_credential(self, credential_id: str, reason: str = "") -> models.Credential:
        """Its live sessions end within a second. Revoking twice is no error."""
        return await self._send(calls.revoke_credential(credential_id, reason))

    async def revoke_attempt(self, attempt_id: str, reason: str = "") -> int:
        """End every live credential of a task attempt (of those this key may revoke); returns how many there were."""
        return (await self._send(calls.revoke_attempt(attempt_id, reason))).revoked

    async def attempts_posted(self, source: str, attempts: Sequence[str]) -> int:
        """Tell that these task instances have just told their Airflow how they ended; returns how many are known."""
        request = models.AttemptsPosted(source=source, attempts=list(attempts))
        return (await self._send(calls.attempts_posted(request))).known

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
    ) -> AsyncIterator[models.Approval]:
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

    async def approval(self, approval_id: str, *, wait: float = 0.0) -> models.Approval:
        """With `wait`, answers as soon as it is no longer pending, or after that many seconds (at most 60)."""
        return await self._send(calls.approval(approval_id, wait))

    async def wait_for_approval(
        self,
        approval_id: str,
        timeout: float | None = None,  # noqa: ASYNC109  ends in StillPending, and bounds the server's side of the wait
    ) -> models.Approval:
        """The approval once it is decided, expired or withdrawn. Raises StillPending after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = calls.LONGEST_WAIT if deadline is None else max(0.0, deadline - time.monotonic())
            started = time.monotonic()
            approval = await self.approval(approval_id, wait=min(left, calls.LONGEST_WAIT))
            if approval.state is not ApprovalState.PENDING:
                return approval
            if deadline is not None and time.monotonic() >= deadline:
                raise StillPending(f"nobody has decided {approval_id} yet")
            if time.monotonic() - started < 1.0:  # a server that does not hold the poll must not be hammered
                await asyncio.sleep(1.0)

    async def approval_states(self, approval_ids: Sequence[str]) -> dict[str, ApprovalState]:
        """How these stand now, by id; those that there are not are left out."""
        states: dict[str, ApprovalState] = {}
        for start in range(0, len(approval_ids), calls.MOST_STATES):
            answer = await self._send(calls.approval_states(approval_ids[start : start + calls.MOST_STATES]))
            states |= {item.id: item.state for item in answer.items}
        return states

    async def approval_events(
        self, since: int | None = None
    ) -> AsyncGenerator[models.WatchStarted | models.ApprovalEnded, None]:
        """One connection's worth of approvals as they end, behind a WatchStarted. Ends when the gateway ends it; raises
        where it cannot be made or breaks. `since`: the `sequence` of the last event that was seen."""
        async with self._answer(calls.watch_approvals(since)) as response:
            if not response.is_success:
                await response.aread()
            check(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise UnexpectedAnswer("no stream of events: is the URL the gateway's?", status=response.status_code)
            async for event in approval_events(response.aiter_lines()):
                yield event

    async def watch_approvals(
        self, since: int | None = None
    ) -> AsyncGenerator[models.WatchStarted | models.ApprovalEnded, None]:
        """`approval_events` for ever: connects again by itself, in pauses of at most 4 s, and goes on where it stopped.
        Each connection begins with a WatchStarted. Raises RequestFault: the key may not (or no longer) watch."""
        failures = 0
        while True:
            try:
                async for event in self.approval_events(since):
                    failures, since = 0, event.sequence
                    yield event
            except ServiceFault:
                failures += 1
            await asyncio.sleep(calls.watch_pause(failures))

    async def approval_parameters(self, approval_id: str) -> models.ApprovalParameters:
        """The bound parameters, for those entitled to decide; that they were looked at is recorded."""
        return await self._send(calls.approval_parameters(approval_id))

    async def approve(self, approval_id: str, comment: str | None = None) -> models.Approval:
        return await self._send(calls.decide(approval_id, True, comment))

    async def deny(self, approval_id: str, comment: str | None = None) -> models.Approval:
        return await self._send(calls.decide(approval_id, False, comment))

    # --- a task about itself -------------------------------------------------------------------------------------

    async def attempt(self) -> models.AttemptReport:
        """The attempt whose credential (`<user>.<password>`) is this client's key: its sessions and approvals."""
        return await self._send(calls.attempt())

    async def attempt_approval(self, approval_id: str) -> models.Approval:
        """One of the approvals of the task whose credential is this client's key. Raises NotFound for any other."""
        return await self._send(calls.attempt_approval(approval_id))

    async def attempt_airflow_page(self, approval_id: str) -> models.AirflowPage:
        """What the task's row on Airflow's own page has to hold for an answer there to count. Raises NotFound where
        that page does not decide this one."""
        return await self._send(calls.attempt_airflow_page(approval_id))

    # --- sessions ------------------------------------------------------------------------------------------------

    def sessions(self, chosen: SessionFilter | None = None) -> AsyncIterator[models.Session]:
        """Newest first."""
        return self._pages(lambda cursor: calls.sessions(cursor, None, chosen or SessionFilter()))

    async def sessions_page(
        self, chosen: SessionFilter | None = None, *, cursor: str | None = None, limit: int | None = None
    ) -> models.Page[models.Session]:
        """Some of `sessions`, to go on from `next_cursor`; `limit` at most 500."""
        return await self._send(calls.sessions(cursor, limit, chosen or SessionFilter()))

    async def session(self, session_id: str) -> models.Session:
        return await self._send(calls.session(session_id))

    def records(self, session_id: str) -> AsyncIterator[models.Record]:
        """In the order they happened."""
        return self._pages(lambda cursor: calls.records(session_id, cursor, None))

    async def verification(self, session_id: str) -> models.Verification:
        return await self._send(calls.verification(session_id))

    async def live_sessions(self) -> list[models.LiveSession]:
        return (await self._send(calls.live_sessions())).items

    async def kill_session(self, session_id: str, reason: str = "") -> None:
        """Both sides are closed within a second, whichever process holds the session."""
        await self._send(calls.kill_session(session_id, reason))

    async def export(
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
            async with self._answer(calls.export(sessions, chosen or SessionFilter(), headers_only)) as response:
                if not response.is_success:
                    await response.aread()
                check(response)
                with partial.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        written += file.write(chunk)
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        return written

    # --- policy and API keys -------------------------------------------------------------------------------------

    async def policy(self) -> models.PolicyStatus:
        return await self._send(calls.policy())

    async def policy_sources(self) -> models.PolicySources:
        return await self._send(calls.policy_sources())

    async def explain(self, request: models.ExplainRequest) -> models.Explanation:
        return await self._send(calls.explain(request))

    def api_keys(self, *, live: bool | None = None) -> AsyncIterator[models.ApiKey]:
        """Newest first. `live` false: those that have expired or been revoked as well."""
        return self._pages(lambda cursor: calls.api_keys(cursor, None, live))

    async def create_api_key(self, request: models.ApiKeyRequest) -> models.CreatedApiKey:
        return await self._send(calls.create_api_key(request))

    async def revoke_api_key(self, key_id: str, reason: str = "") -> models.ApiKey:
        return await self._send(calls.revoke_api_key(key_id, reason))
