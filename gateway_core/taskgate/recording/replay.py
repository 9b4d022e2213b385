"""A session as a timeline: what was done, when, and what came of it. Pure data; `cli/recordings.py` draws it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from taskgate import recorded_values
from taskgate.recording.records import RecordKind

_OPEN_ACTIONS = 1000  # held back for their results; a client that pipelines more gets the older ones without


class Moment(Protocol):
    """What a timeline is made of: `header.Record`, or the same facts got from the control API."""

    @property
    def seq(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def content(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class GivenMoment:
    seq: int
    kind: str
    at: datetime
    content: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an action ended. `duration` in seconds."""

    tag: str
    rows: int
    bytes_to_client: int
    masked: Mapping[str, int]
    error: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing on the timeline. `offset`: seconds since the session began, by the gateway's clock. An action stands
    once, with its `ending` (None: none is recorded); rows as recorded are left to the records themselves. `content` is
    the record's own, None where it was erased: then only when and what kind is known."""

    seq: int
    kind: RecordKind
    at: datetime
    offset: float
    content: Mapping[str, Any] | None
    ending: Ending | None = None
    recorded_rows: int = 0  # `rows` records of an action

    @property
    def text(self) -> str | None:
        """The exact text of an action, where it was recorded."""
        return self._action.get("text")

    @property
    def pairs(self) -> tuple[str, ...]:
        return tuple(self._action.get("pairs", ()))

    @property
    def verdict(self) -> str | None:
        return self._action.get("verdict")

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(rule["rule"] for rule in self._action.get("rules", ()))

    @property
    def approval_id(self) -> str | None:
        return (self.content or {}).get("approval_id") or self._action.get("approval_id")

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """As people read them (`recorded_values`); None where they were not recorded."""
        listed = self._action.get("parameters")
        return None if listed is None else tuple(map(recorded_values.shown, listed))

    @property
    def _action(self) -> Mapping[str, Any]:
        content = self.content or {}
        nested = content.get("action")
        return nested if isinstance(nested, dict) else content


@dataclass
class _Waiting:
    events: OrderedDict[int, TimelineEvent] = field(default_factory=OrderedDict)
    unfinished: set[int] = field(default_factory=set)

    def ready(self) -> Iterator[TimelineEvent]:
        """Events in order, up to the first action that still waits for its result."""
        while self.events:
            seq = next(iter(self.events))
            if seq in self.unfinished and len(self.unfinished) <= _OPEN_ACTIONS:
                return
            self.unfinished.discard(seq)
            yield self.events.pop(seq)


def timeline(records: Iterable[Moment]) -> Iterator[TimelineEvent]:
    """Events in the order of their records, each action merged with its result. Memory stays bounded."""
    started: datetime | None = None
    waiting = _Waiting()
    for record in records:
        started = started or record.at
        kind, content = RecordKind(record.kind), record.content
        subject = (content or {}).get("action")
        subject = subject if isinstance(subject, int) else -1
        if kind is RecordKind.RESULT and subject in waiting.unfinished:
            begun = waiting.events[subject]
            waiting.events[subject] = replace(begun, ending=_ending(begun, record, content or {}))
            waiting.unfinished.discard(subject)
        elif kind is RecordKind.ROWS and subject in waiting.events:
            event = waiting.events[subject]
            waiting.events[subject] = replace(event, recorded_rows=event.recorded_rows + 1)
        else:
            offset = (record.at - started).total_seconds()
            waiting.events[record.seq] = TimelineEvent(record.seq, kind, record.at, offset, content)
            if kind is RecordKind.ACTION and content is not None:
                waiting.unfinished.add(record.seq)
        yield from waiting.ready()
    waiting.unfinished.clear()
    yield from waiting.ready()


def _ending(begun: TimelineEvent, record: Moment, content: Mapping[str, Any]) -> Ending:
    elapsed = content.get("elapsed_us")
    return Ending(
        tag=content.get("tag", ""),
        rows=content.get("rows", 0),
        bytes_to_client=content.get("bytes_to_client", 0),
        masked=content.get("masked") or {},
        error=content.get("error"),
        duration=elapsed / 1e6 if elapsed is not None else max(0.0, (record.at - begun.at).total_seconds()),
    )
