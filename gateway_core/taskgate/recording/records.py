"""What a recording is made of: the kinds of record and what each says.

A record is a header and a content. The header (`header.py`) is hashed into the session's chain and stays for ever; the
content is stored encrypted and may be erased. Whatever is put here has been masked before.

Contents are frozen dataclasses that `encode` turns into JSON. Who acts (principal, attempt, target) stands once, in
`session_opened`; every record of the session inherits it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import orjson

from taskgate.domain import AttributeValue, Outcome, Parameter, Principal, TaskKey
from taskgate.errors import JournalFault, RuleMatch


class RecordKind(StrEnum):
    SESSION_OPENED = "session_opened"
    ACTION = "action"  # allowed, and about to be forwarded
    REFUSED = "refused"  # policy said no, or not yet
    PARKED = "parked"  # a human is being asked
    DECIDED = "decided"  # what the human (or the clock, or a withdrawal) said
    GRANTED = "granted"  # an approval given earlier was used
    RESULT = "result"  # how an action ended
    ROWS = "rows"  # result rows as the client got them
    EVENT = "event"  # anything else worth a record
    SESSION_CLOSED = "session_closed"


@dataclass(frozen=True, slots=True)
class RecordedParameter:
    """A bound parameter. Text as it stood on the wire, or hex where it is binary or not UTF-8; both None is NULL.
    `masked` names the mask that replaced the value; then nothing of the value is here."""

    type_oid: int
    format: int
    text: str | None = None
    hex: str | None = None
    masked: str | None = None

    @classmethod
    def of(cls, parameter: Parameter) -> RecordedParameter:
        if parameter.value is None:
            return cls(parameter.type_oid, parameter.format)
        if parameter.format == 0:
            try:
                return cls(parameter.type_oid, 0, text=parameter.value.decode())
            except UnicodeDecodeError:
                pass
        return cls(parameter.type_oid, parameter.format, hex=parameter.value.hex())


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Who is talking to what. `task` is the task key's text, `task_key` its parts (source, DAG, run, task, map index),
    `run_name` what people call the run where that is not its id; `options` are the `taskgate.*` startup options."""

    principal_kind: str
    principal_name: str
    principal_source: str
    assurance: str
    verified_by: str
    attributes: Mapping[str, AttributeValue]
    target: str
    protocol: str
    client_address: str
    credential_id: str
    attempt_id: str | None = None
    try_number: int | None = None
    task: str | None = None
    task_key: tuple[str, str, str, str, int] | None = None
    run_name: str | None = None
    read_only: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        principal: Principal,
        *,
        target: str,
        protocol: str,
        client_address: str,
        credential_id: str,
        read_only: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> SessionOpened:
        attempt = principal.attempt
        return cls(
            principal_kind=principal.kind,
            principal_name=principal.name,
            principal_source=principal.source,
            assurance=principal.assurance,
            verified_by=principal.verified_by,
            attributes=dict(principal.attributes),
            target=target,
            protocol=protocol,
            client_address=client_address,
            credential_id=credential_id,
            attempt_id=attempt.id if attempt else None,
            try_number=attempt.try_number if attempt else None,
            task=str(attempt.task) if attempt else None,
            task_key=task_parts(attempt.task) if attempt else None,
            run_name=(attempt.run_name or None) if attempt else None,
            read_only=read_only,
            options=dict(options or {}),
        )


def task_parts(task: TaskKey) -> tuple[str, str, str, str, int]:
    return task.source, task.dag_id, task.run_id, task.task_id, task.map_index


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """An action and its verdict: the content of `action` and `refused`, and what `parked` shows.

    `text` and `parameters` are None where the recording level is `metadata`. `pairs` are effect and object as text.
    `reason` is what the client was told when refused; `pending` that a retry will find the grant once it is given."""

    protocol: str
    text: str | None
    pairs: tuple[str, ...]
    verdict: str
    rules: tuple[RuleMatch, ...] = ()
    parameters: tuple[RecordedParameter, ...] | None = ()
    tags: tuple[str, ...] = ()
    complete: bool = True
    notes: tuple[str, ...] = ()
    role: str = ""
    search_path: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    transaction: str = ""
    row_bound: int | None = None
    approval_id: str | None = None
    reason: str | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """A human is asked. `hold` in seconds: how long the connection waits."""

    action: RecordedAction
    approval_id: str
    approvers: tuple[str, ...]
    hold: float
    url: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """How a request for approval ended: `state` as `domain.ApprovalState`."""

    approval_id: str
    state: str
    decided_by: str | None = None
    comment: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant was used for the action that follows; `uses_left` after it."""

    approval_id: str
    decided_by: str | None = None
    uses_left: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """How the action with sequence number `action` ended. `masked`: cells by mask rule or detector; `elapsed_us` on the
    monotonic clock; `error` already scrubbed."""

    action: int
    tag: str = ""
    rows: int = 0
    bytes_to_client: int = 0
    masked: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    elapsed_us: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of action `action` as the client got them (masked): the protocol's own bytes, as base64."""

    action: int
    base64: str

    @classmethod
    def of(cls, action: int, data: bytes) -> Rows:
        return cls(action, b64encode(data).decode())


@dataclass(frozen=True, slots=True)
class Event:
    """`name` says what (`malformed`, `cancel`, `setting`, `approval_viewed`, …)."""

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """`lost_bytes`: how much of a half-written record was cut off when the process that wrote it had died."""

    reason: str
    lost_bytes: int = 0


Content = SessionOpened | RecordedAction | Parked | Decided | Granted | Result | Rows | Event | SessionClosed


def encode(content: Content | Mapping[str, object]) -> bytes:
    """JSON, the one form in which contents are hashed and stored. Raises JournalFault: what cannot be recorded may not
    happen. The error never quotes the content."""
    try:
        return orjson.dumps(content)
    except (TypeError, ValueError):
        raise JournalFault(f"taskgate: a {type(content).__name__} record cannot be written as JSON") from None


class ActionTemplate:
    """An action that is executed again and again, perhaps with other literals in its text: everything but text and
    parameters is encoded once. A record without text (level `metadata`) is without parameters too."""

    __slots__ = ("_bare", "_between", "_own", "_text", "_whole")

    def __init__(self, action: RecordedAction) -> None:
        fields = orjson.loads(encode(action))
        self._text = fields.pop("text")
        fields.pop("parameters")
        self._between = b"," + encode(fields)[1:-1] + b',"parameters":'
        self._bare = action.parameters is None
        self._own = self._content(self._text, b"")[:-1]
        self._whole = self._content(self._text, b"null" if self._bare else b"[]")

    def content(
        self, parameters: Sequence[Parameter | RecordedParameter] | None = None, *, text: str | None = None
    ) -> bytes:
        """The record's content with these parameters (without any and with the template's own text it is ready
        already). `text`: what was sent this time."""
        if self._bare or (not parameters and (text is None or text == self._text)):
            return self._whole
        encoded = b",".join([_parameter(value) for value in parameters]) if parameters else b""
        if text is None:
            return b"%b[%b]}" % (self._own, encoded)
        return self._content(text, b"[%b]" % encoded)

    def _content(self, text: str | None, parameters: bytes) -> bytes:
        try:
            return b'{"text":%b%b%b}' % (orjson.dumps(text), self._between, parameters)
        except TypeError:  # a text that is no Unicode
            raise JournalFault("taskgate: an action record cannot be written as JSON") from None


def _parameter(parameter: Parameter | RecordedParameter) -> bytes:
    """What `encode` makes of a RecordedParameter, without making one for the common case: text in plain UTF-8."""
    if isinstance(parameter, Parameter):
        if parameter.format == 0 and parameter.value is not None:
            try:
                text = orjson.dumps(parameter.value.decode())
            except UnicodeDecodeError:
                pass
            else:
                return b'{"type_oid":%d,"format":0,"text":%b,"hex":null,"masked":null}' % (parameter.type_oid, text)
        parameter = RecordedParameter.of(parameter)
    return orjson.dumps(parameter)


def encode_result(action: int, outcome: Outcome, elapsed_us: int) -> bytes:
    """What `encode` makes of this Result: written by hand, since every action ends with one."""
    tag, rows, size, masked, error = outcome
    return b'{"action":%d,"tag":%b,"rows":%d,"bytes_to_client":%d,"masked":%b,"error":%b,"elapsed_us":%d}' % (
        action, orjson.dumps(tag), rows, size, orjson.dumps(masked) if masked else b"{}",
        b"null" if error is None else orjson.dumps(error), elapsed_us,
    )  # fmt: skip
