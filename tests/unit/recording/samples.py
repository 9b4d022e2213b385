"""Sessions as a gateway would record them, for tests."""

from __future__ import annotations

from taskgate.domain import Assurance, Attempt, Parameter, Principal, PrincipalKind, TaskKey
from taskgate.errors import RuleMatch
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from taskgate.recording.records import Event, RecordedAction, RecordKind, Result, SessionOpened
from taskgate.recording.records import RecordedParameter as P
from taskgate.recording.session_recording import SessionRecording

PRINCIPAL = Principal(
    kind=PrincipalKind.TASK,
    name="etl.load",
    source="airflow",
    assurance=Assurance.VERIFIED,
    verified_by="airflow-jwt",
    attributes={"bundle": "etl", "tags": ("nightly", "pii")},
    attempt=Attempt("0199-ti", TaskKey("airflow", "etl", "run-1", "load"), 2),
)
OPENED = SessionOpened.of(
    PRINCIPAL, target="orders-db", protocol="postgres", client_address="10.0.0.9", credential_id="tg_abc"
)


def header(session_id: str) -> SessionHeader:
    return SessionHeader(session_id, "policy-1", "target-digest")


def action(text: str = "select 1", *parameters: Parameter) -> RecordedAction:
    return RecordedAction(
        protocol="postgres",
        text=text,
        pairs=("sql.select public.orders",),
        verdict="allow",
        rules=(RuleMatch("etl-reads", "allow"),),
        parameters=tuple(P.of(value) for value in parameters),
        tags=("SELECT",),
    )


def opened(recorder: Recorder, session_id: str = "ses_1") -> SessionRecording:
    recording = recorder.open(header(session_id))
    recording.append(RecordKind.SESSION_OPENED, OPENED)
    return recording


def statement(recording: SessionRecording, text: str = "select 1") -> int:
    """An action and its result; returns the action's number."""
    seq = recording.append(RecordKind.ACTION, action(text))
    recording.append(RecordKind.RESULT, Result(seq, "SELECT 1", rows=1, bytes_to_client=20, elapsed_us=1500))
    return seq


def session(recorder: Recorder, session_id: str = "ses_1", statements: int = 3) -> SessionRecording:
    """A whole session, closed."""
    recording = opened(recorder, session_id)
    for number in range(statements):
        statement(recording, f"select {number}")
    recording.append(RecordKind.EVENT, Event("cancel", {"by": "client"}))
    recording.close("client disconnected")
    return recording
