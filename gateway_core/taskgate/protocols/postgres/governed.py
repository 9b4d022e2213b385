"""A session at work: a client, its target, and the relay between them, until one of the three ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from taskgate.domain import Action
from taskgate.enforcement.contracts import GovernedSession, ParkedNotice, Permit
from taskgate.enforcement.refusals import where
from taskgate.errors import GatewayFault, PolicyRefusal, TaskgateError
from taskgate.protocols.postgres import backend, frontend
from taskgate.protocols.postgres.backend import report
from taskgate.protocols.postgres.cancel import cancel_on_target
from taskgate.protocols.postgres.needs import Need
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.reach import Approach, open_target
from taskgate.protocols.postgres.refusals import fatal, fatal_for
from taskgate.protocols.postgres.relay import Relay
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.startup import LONG_KEYS, Wishes
from taskgate.protocols.postgres.statements import LongAnalysis
from taskgate.protocols.postgres.upstream import Opened

log = structlog.get_logger(__name__)

_POLL_PEER = 1.0
_analysing = ThreadPoolExecutor(1, "taskgate-analysis")  # one, so that the event loop has one rival for the interpreter


class Ended(Exception):
    """The session ends. `last_words`: what the client still gets."""

    def __init__(self, reason: str, last_words: bytes = b"", *, cancel: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.last_words = last_words
        self.cancel = cancel


class GovernedConnection:
    """A client, its session, and its target."""

    def __init__(self, service: Service, client: Peer, session: GovernedSession, approach: Approach) -> None:
        self._service = service
        self._approach = approach
        self._client = client
        self._session = session
        self._server = Peer(service.limits.message, service.limits.write_buffer)
        self._over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None  # a judgement, or reading the catalogue
        self._disk: asyncio.Task[None] | None = None
        self._recording: asyncio.Task[None] | None = None  # recorded rows are on their way to the disk
        self._unrelayed = b""  # of the target's, meanwhile
        self._withdrawn = False
        self._joined = False  # this round
        self._opened: Opened | None = None

    async def run(self, wishes: Wishes) -> str:
        """Returns why it ended."""
        self._session.ended.add_done_callback(self._revoked)
        self._session.confined.add_done_callback(self._confined)
        self._client.lost = lambda: self._end(Ended("the client disconnected"))
        process = 0
        ended = Ended("the gateway failed")
        try:
            opened = self._opened = await self._reach(wishes)
            self._relay = Relay(self._session, opened.settings, self._service.analyst, self._service.limits)
            process, secret = self._service.cancels.issue(self.cancel, long=wishes.minor >= LONG_KEYS)
            greeting = [*opened.greeting, backend.backend_key(process, secret), backend.ready()]
            self._client.write(backend.AUTHENTICATION_OK + b"".join(greeting))
            self._relay.start()
            self._couple()
            ended = await self._over
        finally:
            self._service.cancels.withdraw(process)
            await self._hang_up(ended)
        return ended.reason

    # --- the target ---

    async def _reach(self, wishes: Wishes) -> Opened:
        opening = asyncio.ensure_future(open_target(self._service, self._session, self._server, wishes, self._approach))
        try:
            waiting: set[asyncio.Future[Any]] = {opening, self._over}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                ended = self._over.result()
                self._client.write(ended.last_words)
                raise ConnectionResetError(ended.reason)
            return opening.result()
        finally:
            opening.cancel()

    # --- relaying ---

    def _couple(self) -> None:
        client, server = self._client, self._server
        client.congested = lambda full: server.pause("client") if full else server.resume("client")
        server.congested = lambda full: client.pause("server") if full else client.resume("server")
        server.lost = self._target_lost
        server.deliver_to(self._server_data)
        client.deliver_to(self._client_data)
        self._drain()

    def _client_data(self, data: bytes) -> None:
        if self._over.done():
            return
        relay = self._relay
        try:
            relay.client_data(data)
        except Exception as error:  # noqa: BLE001  whatever it is, the session must not go on
            self._broken(error)
        if relay.flight is not None and relay.committing and not relay.to_client:
            self._join()  # a known exchange departs: there is nothing else to see to
        else:
            self._drain()

    def _server_data(self, data: bytes) -> None:
        if self._over.done():
            return
        if self._session.behind:
            self._slow_down(data)
            return
        try:
            answer = self._relay.landed(data)
            if answer is not None:
                self._client.write(answer)
                return
            self._relay.server_data(data)
        except Exception as error:  # noqa: BLE001
            self._relay.to_client.clear()
            self._broken(error)
        self._drain()

    def _slow_down(self, data: bytes) -> None:
        """Rows are recorded faster than the disk takes them: nothing more is read from the target until it has. What
        has been read already waits, or many such sessions could fill the journal's buffer between them."""
        self._unrelayed += data
        if self._recording is None:
            self._server.pause("recording")
            self._recording = asyncio.ensure_future(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self._session.behind:
                await self._session.sync()
        except Exception as error:  # noqa: BLE001
            self._broken(error)
            return
        self._recording = None
        data, self._unrelayed = self._unrelayed, b""
        self._server_data(data)
        if self._recording is None:
            self._server.resume("recording")

    def _drain(self) -> None:
        relay = self._relay
        if relay.to_client:
            self._client.write(b"".join(relay.to_client) if len(relay.to_client) > 1 else relay.to_client[0])
            relay.to_client.clear()
        if relay.to_server:
            self._server.write(b"".join(relay.to_server) if len(relay.to_server) > 1 else relay.to_server[0])
            relay.to_server.clear()
        if relay.committing:
            self._join()
        if relay.need is not None or relay.syncing or self._task is not None:
            self._meet_needs()
        if relay.terminated:
            self._end(Ended("the client said goodbye"))
        if relay.client_ahead > self._service.limits.client_ahead and relay.need is not None:
            self._client.pause("ahead")
        elif self._client.paused:
            self._client.resume("ahead")

    def _join(self) -> None:
        if not self._joined:
            self._joined = True
            self._service.rounds.join(self._commit)

    def _commit(self) -> None:
        self._joined = False
        self._proceed(self._relay.commit)

    def _meet_needs(self) -> None:
        relay = self._relay
        if relay.syncing and self._disk is None:
            self._disk = asyncio.ensure_future(self._sync())
        if relay.need is Need.JUDGEMENT and self._task is None and relay.action is not None:
            self._withdrawn = False
            self._task = asyncio.ensure_future(self._judge(relay.action))
        elif relay.need is Need.ANALYSIS and self._task is None and relay.analysis is not None:
            self._task = asyncio.ensure_future(self._analyse(relay.analysis))
        elif relay.need is Need.CATALOG and self._task is None:
            self._task = asyncio.ensure_future(self._read_catalog())
        elif relay.need is None and self._task is not None:
            self._task.cancel()  # what it was for has been skipped by the target

    async def _judge(self, action: Action) -> None:
        verdict: Permit | TaskgateError
        try:
            verdict = await self._session.judge(action, self)
        except asyncio.CancelledError:
            if not self._withdrawn:
                self._task = None
                raise
            verdict = PolicyRefusal("canceling statement due to user request")
            verdict.sqlstate = "57014"
        except TaskgateError as error:
            verdict = error
        except Exception:
            log.exception("postgres.judgement_failed", session=self._session.id)
            verdict = GatewayFault("taskgate: the statement could not be judged")
        self._task = None
        if self._relay.need is Need.JUDGEMENT:
            self._proceed(lambda: self._relay.judged(verdict))

    async def _analyse(self, analysis: LongAnalysis) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(_analysing, analysis.run)
        except Exception as error:  # noqa: BLE001
            self._task = None
            self._broken(error)
            return
        self._task = None
        self._proceed(self._relay.analysed)

    async def _read_catalog(self) -> None:
        try:
            await self._session.catalog_changed()
        except TaskgateError as error:
            self._task = None
            self._broken(error)
            return
        self._task = None
        self._proceed(self._relay.catalog_read)

    async def _sync(self) -> None:
        failure: TaskgateError | None = None
        try:
            await self._session.sync()
        except TaskgateError as error:
            failure = error
        self._disk = None
        self._proceed(lambda: self._relay.synced(failure))

    def _proceed(self, step: Callable[[], None]) -> None:
        if self._over.done():
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self._broken(error)
        self._drain()

    def parked(self, notice: ParkedNotice) -> None:
        """`Waiting`: tell the client at once that a human is asked, and watch whether it stays."""
        text = f"taskgate: waiting for approval {notice.approval_id} ({', '.join(notice.rules)})"
        place = where(notice.approval_id, notice.url)
        hint = f"An approver decides {place} (the statement waits at most {notice.hold:.0f} s)."
        nobody = f"Nobody may decide it as things are: {notice.nobody_may}." if notice.nobody_may else None
        self._client.write(report("NOTICE", "01000", text, detail=nobody, hint=hint).encode(b"N"))
        self._watch()

    def _watch(self) -> None:
        """Reading may be paused while a statement waits, and then nobody tells that the client has gone."""
        if self._task is None or self._over.done():
            return
        if self._client.gone:
            self._end(Ended("the client disconnected"))
            return
        asyncio.get_running_loop().call_later(_POLL_PEER, self._watch)

    # --- interruptions ---

    async def cancel(self) -> None:
        """A CancelRequest with this session's key."""
        self._session.event("cancel_requested", parked=self._task is not None)
        if self._task is not None and self._relay.need is Need.JUDGEMENT:
            self._withdrawn = True
            self._task.cancel()
            return
        if self._opened is not None and self._opened.secret:
            await cancel_on_target(self._session.target, self._opened.process, self._opened.secret)

    def _revoked(self, ended: asyncio.Future[str]) -> None:
        reason = "the session ended" if ended.cancelled() else ended.result()
        words = fatal("57P01", f"taskgate: the session ends now: {reason}", detail=f"session={self._session.id}")
        self._end(Ended(reason, words, cancel=True))

    def _confined(self, confined: asyncio.Future[str]) -> None:
        """A write that was begun is not completed: the target rolls it back with the session."""
        if confined.cancelled() or self._opened is None or not self._relay.transaction.changed:
            return
        reason = confined.result()
        words = fatal(
            "57P01", f"taskgate: {reason}: what was begun is rolled back", detail=f"session={self._session.id}"
        )
        self._end(Ended(reason, words, cancel=True))

    def _target_lost(self) -> None:
        if self._relay.farewell:
            self._end(Ended("the target ended the session"))
            return
        name = self._session.target.name
        words = fatal("08006", f"taskgate: target {name} closed the connection")
        self._end(Ended("the target closed the connection", words))

    def _broken(self, error: Exception) -> None:
        """Either side broke the protocol, or we did."""
        if isinstance(error, TaskgateError):
            self._session.event("session_broken", fault=type(error).__name__, reason=str(error))
            self._end(Ended(str(error), fatal_for(error), cancel=isinstance(error, GatewayFault)))
            return
        log.error("postgres.relay_failed", session=self._session.id, exc_info=error)
        self._session.event("session_broken", fault="internal", reason=type(error).__name__)
        self._end(Ended("internal error", fatal("58000", "taskgate: internal error"), cancel=True))

    def _end(self, ended: Ended) -> None:
        if not self._over.done():
            self._over.set_result(ended)

    async def _hang_up(self, ended: Ended) -> None:
        """Both sides are closed within the time limit even when neither reads."""
        self._session.ended.remove_done_callback(self._revoked)
        self._session.confined.remove_done_callback(self._confined)
        client, server = self._client, self._server
        client.lost = server.lost = None
        client.received = server.received = lambda _: None
        tasks = [task for task in (self._task, self._disk, self._recording) if task]
        await _cancelled(tasks, self._service.limits.close_seconds)
        if ended.last_words:
            client.write(ended.last_words)
        opened = self._opened
        if opened is not None:
            self._relay.lost(f"the session ended: {ended.reason}")
            if ended.cancel:
                server.abort()
                if opened.secret:
                    _in_background(cancel_on_target(self._session.target, opened.process, opened.secret))
            else:
                server.write(frontend.TERMINATE)
        await close(server, self._service.limits.close_seconds)


async def _cancelled(tasks: list[asyncio.Task[None]], patience: float) -> None:
    """Cancel, and wait for what they still have to undo, `patience` seconds at most: a store that does not answer a
    withdrawal keeps nobody's connection open."""
    for task in tasks:
        task.cancel()
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=patience)
        for task in done:
            if not task.cancelled():
                task.exception()  # its session is over


_background: set[asyncio.Task[None]] = set()


def _in_background(coroutine: Coroutine[None, None, None]) -> None:
    task = asyncio.get_running_loop().create_task(coroutine)
    _background.add(task)
    task.add_done_callback(_background.discard)


async def close(peer: Peer, patience: float) -> None:
    """Hand over what is written, or not, within `patience` seconds."""
    if peer.transport is None or peer.closed:
        return
    gone = asyncio.Event()
    peer.lost = gone.set
    peer.close()
    try:
        async with asyncio.timeout(patience):
            await gone.wait()
    except TimeoutError:
        peer.abort()
