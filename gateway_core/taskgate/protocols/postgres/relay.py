"""The loop every byte goes through: bytes and cached verdicts in, bytes out. Nothing here awaits or touches a socket.

The proxy feeds `client_data` and `server_data` and writes out what has gathered in `to_server` and `to_client`. Where a
message needs something that takes time (a judgement, an answer of the target), `need` says what; the client's later
messages wait in the backlog until `judged`, `catalog_read` or the target's answer lets them go on. A message that had
to wait is interpreted again from its beginning, so handlers change nothing before they know all they need. `committing`
says that what is gathered is forwarded with `commit`, once a round; `syncing`, that it may not be forwarded before its
records are on disk (`synced`).
"""

from __future__ import annotations

from collections import deque

from taskgate.domain import Action
from taskgate.enforcement.contracts import GovernedSession, Permit
from taskgate.errors import ClientFault, TargetFault, TaskgateError
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.backend import TEXT_FIELDS, Report
from taskgate.protocols.postgres.codec import MessageBuffer, Run, split
from taskgate.protocols.postgres.copying import Copies
from taskgate.protocols.postgres.expectations import DROP, DROP_DONE, Expected, unexpected
from taskgate.protocols.postgres.interpret import Interpreter
from taskgate.protocols.postgres.known import KnownExchanges
from taskgate.protocols.postgres.lesson import Lesson
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.needs import Blocked, Need
from taskgate.protocols.postgres.outgoing import Outgoing
from taskgate.protocols.postgres.refusals import Refused, answer_for
from taskgate.protocols.postgres.server_settings import ServerSettings
from taskgate.protocols.postgres.session_state import Transaction
from taskgate.protocols.postgres.statements import Analyst, LongAnalysis, Statement
from taskgate.sql.names import SessionNames

_REPORTS = frozenset(b"ENSA")  # may come at any time: error, notice, parameter status, notification
_DATA_ROW, _COPY_DATA = 0x44, 0x64
# Said word for word by every PostgreSQL, whatever a statement touched: nothing of anybody's is in them.
_FIXED_TEXTS = frozenset(
    {
        b"canceling statement due to user request",
        b"canceling statement due to statement timeout",
        b"canceling statement due to lock timeout",
        b"current transaction is aborted, commands ignored until end of transaction block",
        b"DECLARE CURSOR can only be used in transaction blocks",
    }
)
_MESSAGE = 0x4D


class Relay(Outgoing):
    """One session between a client that has proven who it is and a target that is ready."""

    def __init__(self, session: GovernedSession, settings: ServerSettings, analyst: Analyst, limits: Limits) -> None:
        super().__init__(session, limits)
        self.settings = settings
        self.names = SessionNames()
        self.transaction = Transaction()
        self.to_client: list[bytes] = []
        self.action: Action | None = None
        self.verdict: Permit | TaskgateError | None = None
        self.analysis: LongAnalysis | None = None  # for the message that waits at the head
        self.terminated = False  # the client said goodbye
        self.farewell = False  # the target's last words are on their way to the client
        self._from_client = MessageBuffer(ClientFault, limits.message)
        self._from_server = MessageBuffer(TargetFault, limits.message)
        self._backlog: deque[tuple[bytes, int, int]] = deque()
        self._backlog_size = 0
        self._replacement = b""
        self.copies = Copies(self)
        self._interpreter = Interpreter(self, analyst)
        self._exchanges = KnownExchanges(self, self._interpreter)
        self._lesson: Lesson | None = None

    def start(self) -> None:
        """The target is ready, the client may begin."""
        self._interpreter.settling.start()
        self._flush()

    # --- from the client ---

    @property
    def client_ahead(self) -> int:
        """Bytes of the client that wait here."""
        return self._backlog_size + self._from_client.size

    def client_data(self, data: bytes) -> None:
        """Raises ClientFault where the client breaks the protocol: the session ends."""
        quiet = not (  # nothing is on its way in either direction, and nothing waits
            self.flight is not None
            or self._queue
            or self._out
            or self._batch
            or self.need is not None
            or self.syncing
            or self._backlog
            or self._from_client.size
            or self._interpreter.handlers is not self._interpreter.normal
        )
        if quiet and self._exchanges.depart(data):
            return
        self._expand()
        self._interpret_all(data)
        unknown = self._exchanges.unknown if quiet and self.need is None else None
        self._lesson = None if unknown is None else Lesson.of(unknown, data, self._out, self._batch, self.session.scope)
        self._flush()

    def _interpret_all(self, data: bytes) -> None:
        data, runs = self._from_client.take(data)
        if self.need is not None or self.syncing or self._backlog:
            for run in runs:
                self._keep(data, run[1], run)
            return
        for position, run in enumerate(runs):
            for start, stop in ((run[1], run[2]),) if run[3] == 1 else split(data, run):
                if self._interpret(data, start, stop) and self.need is None:
                    continue
                self._keep(data, start if self.need is not None and self._unread else stop, run)
                for later in runs[position + 1 :]:
                    self._keep(data, later[1], later)
                return

    _unread = False

    def _interpret(self, data: bytes, start: int, stop: int) -> bool:
        """Whether the message is done with; otherwise `need` says what it waits for."""
        kind = data[start]
        handler = self._interpreter.handlers.get(kind)
        self._unread = False
        try:
            if handler is None:
                raise self._interpreter.out_of_place(kind)
            handler(data, start, stop)
        except Blocked as blocked:
            self.need = blocked.need
            self._unread = True
            return False
        except (ClientFault, TargetFault):
            raise
        except Refused as refused:
            self._interpreter.refuse(kind, refused.answer, unnamed=_unnamed_parse(data, start))
        except TaskgateError as error:
            self._interpreter.refuse(kind, answer_for(error), unnamed=_unnamed_parse(data, start))
        return True

    def _keep(self, data: bytes, start: int, run: Run) -> None:
        if start < run[2]:
            # A run's count is only used to tell one message from many.
            for begin, stop in split(data, (run[0], start, run[2], 2)):
                self._backlog.append((data, begin, stop))
            self._backlog_size += run[2] - start

    def _advance(self) -> None:
        """Go on with what had to wait."""
        self._released = False
        while self._backlog and self.need is None and not self.syncing:
            data, start, stop = self._backlog[0]
            if not self._interpret(data, start, stop):
                break
            self.verdict = self.analysis = None
            self._backlog.popleft()
            self._backlog_size -= stop - start
        self._flush()

    def _expand(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            (self._batch if self._out else self._queue).extend(flight.entries(self))

    def _refuse_batch(self, answer: Report, markers: int, *, open_end: bool) -> None:
        self._interpreter.refuse_batch(answer, markers, open_end=open_end)

    def _skipped(self, entry: Expected, why: str) -> None:
        entry.skipped(self, why)

    # --- answers to needs ---

    def judged(self, verdict: Permit | TaskgateError) -> None:
        """What `session.judge` returned or raised for `action`."""
        self.verdict, self.action, self.need = verdict, None, None
        self._advance()

    def synced(self, error: TaskgateError | None = None) -> None:
        """What `session.sync` did."""
        self.syncing = False
        if error is None:
            self._forward()
        else:
            self._abandon(error)
        self._advance()

    def analysed(self) -> None:
        """`analysis` has been run."""
        self.need = None
        self._advance()

    def catalog_read(self) -> None:
        """The catalogue has been read again."""
        self._interpreter.settling.catalog_read()
        self.need = None
        self._advance()

    # --- from the target ---

    def landed(self, data: bytes) -> bytes | None:
        """What the client gets where `data` is all that a known exchange waits for; None: `server_data` has to look.
        Raises TargetFault."""
        flight = self.flight
        if flight is None or self.committing or self._from_server.size:
            return None
        answer = flight.landed(self, data)
        if answer is not None:
            self.flight = None
        return answer

    def server_data(self, data: bytes) -> None:
        """Raises TargetFault where the target breaks the protocol: the session ends, the client gets none of it."""
        self._expand()
        lesson, self._lesson = self._lesson, None
        if lesson is not None and (self._from_server.size or not lesson.is_next(self._queue)):
            lesson = None
        self._accept(data)
        if lesson is not None and not (self._queue or self._batch or self._from_server.size):
            exchange = lesson.learn(data)
            if exchange is not None:
                self._exchanges.learnt(lesson.key, exchange)
        if self._released:
            self._advance()
        else:
            self._flush()

    def _accept(self, data: bytes) -> None:
        data, runs = self._from_server.take(data)
        if not runs:
            return
        queue, to_client = self._queue, self.to_client
        passed = 0  # what is behind this offset has not been handed on yet
        for run in runs:
            kind, begin, finish, count = run
            if kind in (_DATA_ROW, _COPY_DATA):
                if not queue:
                    raise unexpected(kind)
                entry = queue[0]
                take = entry.rows if kind == _DATA_ROW else entry.copied
                replaced = take(self, data, begin, finish, count)
                if replaced is not None:
                    if passed < begin:
                        to_client.append(data[passed:begin])
                    if replaced:
                        to_client.append(replaced)
                    passed = finish
                continue
            for start, stop in ((begin, finish),) if count == 1 else split(data, run):
                if kind in _REPORTS:
                    self._replacement = self._report(kind, data, start, stop)
                    code = DROP
                else:
                    if not queue:
                        raise unexpected(kind)
                    entry = queue[0]
                    code = entry.accept(self, kind, data, start, stop)
                    if code & 1:
                        queue.popleft()
                        if entry is self.awaited:
                            self.release()
                if code & DROP:
                    if passed < start:
                        to_client.append(data[passed:start])
                    if self._replacement:
                        to_client.append(self._replacement)
                        self._replacement = b""
                    passed = stop
        end = runs[-1][2]
        if passed < end:
            to_client.append(data if passed == 0 and end == len(data) else data[passed:end])

    def replace(self, data: bytes, *, done: bool) -> int:
        """For entries: this goes to the client in the message's place."""
        self._replacement = data
        return DROP_DONE if done else DROP

    def ready(self, status: int) -> None:
        """A ReadyForQuery, whose entry is still at the head of the queue."""
        self._interpreter.settling.ready(status, outstanding=len(self._queue) > 1 or bool(self._batch))

    def _report(self, kind: int, data: bytes, start: int, stop: int) -> bytes:
        """What the client gets for an error, a notice, a parameter status or a notification."""
        if kind == 0x53:
            self.settings.report(*backend.decode_parameter_status(data, start, stop))
            self._interpreter.settling.moved()
            return data[start:stop]
        if kind == 0x41:
            process, channel, payload = backend.decode_notification(data, start, stop)
            scrubbed = self.session.baseline.scrub(payload.decode("utf-8", "replace")).encode()
            return data[start:stop] if scrubbed == payload else backend.notification(process, channel, scrubbed)
        report = Report.decode(data, start, stop)
        if kind == 0x4E:
            return self.scrubbed(report, self._queue[0].plan if self._queue else None).encode(b"N")
        return self._error(report)

    def _error(self, report: Report) -> bytes:
        if report.ends_session:
            self.farewell = True
            return self.scrubbed(report, self._queue[0].plan if self._queue else None).encode(b"E")
        if not self._queue:
            raise unexpected(0x45)
        head = self._queue[0]
        answer = head.failed(self, report)
        if not head.marker:
            self._skip()
        return answer.encode(b"E") if answer else b""

    def _skip(self) -> None:
        """The target reads and ignores everything up to the next Sync."""
        dropped = [self._queue.popleft()]
        while self._queue and not self._queue[0].marker:
            dropped.append(self._queue.popleft())
        if not self._queue:
            stop = next((i for i, entry in enumerate(self._batch) if entry.marker), len(self._batch))
            dropped += self._batch[:stop]
            del self._batch[:stop]
            if not self._batch:
                self._interpreter.skip_until_sync()
        for entry in reversed(dropped[1:]):
            entry.skipped(self)
        if self.awaited in dropped:
            self.release()

    def never_mind(self) -> None:
        """The judgement that is waited for has no object any more."""
        if self.need is Need.JUDGEMENT:
            self.need = self.action = None
            self._released = True

    def completed(self, statement: Statement, tag: bytes) -> None:
        """A CommandComplete."""
        self._interpreter.settling.completed(statement, tag)

    def refused(self, report: Report) -> None:
        """Something that was already done is refused after all."""
        self._interpreter.refuse(0, report)

    def await_commands(self) -> None:
        """The client is not skipped over (any more): it sent a Query, which ends by itself."""
        self._interpreter.await_commands()

    def copy_in_started(self, entry: Expected) -> None:
        if self.awaited is not entry:
            raise TargetFault("the target wants data for a statement that takes none")
        self.release()
        self._interpreter.copy_in_started()

    def copy_in_failed(self, *, marker: bool) -> None:
        self._interpreter.copy_in_failed(marker=marker)

    def scrubbed(self, report: Report, plan: MaskPlan | None) -> Report:
        """Without what the masks would have hidden: a value can stand in any text of an error."""
        plan = plan or self.session.baseline
        if not plan.active:
            return report
        clear = report.fields[_MESSAGE] in _FIXED_TEXTS
        fields = {
            code: plan.scrub(value.decode("utf-8", "replace")).encode()
            if code in TEXT_FIELDS and not (clear and code == _MESSAGE)
            else value
            for code, value in report.fields.items()
        }
        return Report(fields)

    def lost(self, why: str) -> None:
        """The session is over: whatever has not been answered never will be."""
        self._expand()
        for entry in (*self._queue, *self._batch):
            entry.skipped(self, why)
        self._queue.clear()
        self._clear_batch()


def _unnamed_parse(data: bytes, start: int) -> bool:
    return data[start] == 0x50 and data[start + 5] == 0
