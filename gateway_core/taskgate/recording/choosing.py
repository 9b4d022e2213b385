"""Which recordings in a data folder are whose, from their first records: without the gateway and its index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from taskgate.recording.recordings import Recordings
from taskgate.recording.records import RecordKind


@dataclass(frozen=True, slots=True)
class RecordedFilter:
    """Everything given must hold, exactly but for `name` (every word of it is part of the DAG's, run's or task's name)
    and `person` (part of the name of the person who acts or who triggered the run). `principal` is `kind:source:name`;
    times bound when a session began, `until` exclusive."""

    name: str | None = None
    person: str | None = None
    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    attempt: str | None = None
    target: str | None = None
    principal: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, opened: Mapping[str, Any], at: datetime) -> bool:
        """`opened` is the content of the session's first record."""
        task = task_of(opened)
        pairs = (
            (self.source, task.source),
            (self.dag_id, task.dag_id),
            (self.run_id, task.run_id),
            (self.task_id, task.task_id),
            (self.map_index, task.map_index),
            (self.attempt, opened.get("attempt_id")),
            (self.target, opened.get("target")),
            (self.principal, ":".join(str(opened.get(f"principal_{one}")) for one in ("kind", "source", "name"))),
        )
        names = [one.casefold() for one in (task.dag_id, task.run_id, opened.get("run_name"), task.task_id) if one]
        if not all(any(word in one for one in names) for word in (self.name or "").casefold().split()):
            return False
        if self.person is not None and not any(self.person.casefold() in one.casefold() for one in people(opened)):
            return False
        in_time = (self.since is None or at >= self.since) and (self.until is None or at < self.until)
        return in_time and all(one is None or one == found for one, found in pairs)


@dataclass(frozen=True, slots=True)
class Chosen:
    """`unknown`: how many recordings say no more whose they are: their content was erased."""

    sessions: tuple[str, ...]
    unknown: int


def choose(recordings: Recordings, chosen: RecordedFilter) -> Chosen:
    """Reads the first record of every recording. Raises GatewayFault at damage."""
    found, unknown = [], 0
    for session_id in recordings.sessions():
        first = next(recordings.read(session_id), None)
        if first is None or first.kind is not RecordKind.SESSION_OPENED:
            continue  # a process's own recording
        if first.content is None:
            unknown += 1
        elif chosen.fits(first.content, first.at):
            found.append(session_id)
    return Chosen(tuple(found), unknown)


def people(opened: Mapping[str, Any]) -> list[str]:
    """The person who acts, and who triggered the run."""
    named = [opened.get("principal_name")] if opened.get("principal_kind") == "user" else []
    named.append((opened.get("attributes") or {}).get("triggering_user"))
    return [str(one) for one in named if one is not None]


class RecordedTask(NamedTuple):
    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def task_of(opened: Mapping[str, Any]) -> RecordedTask:
    """Whose task it was; nothing but None where no task spoke. Early versions recorded the joined text only, which is
    taken apart as Airflow's names allow: no slash in a DAG's or task's."""
    if opened.get("task_key") is not None:
        return RecordedTask(*opened["task_key"])
    source, joined = str(opened.get("principal_source")), str(opened.get("task") or "")
    if not joined.startswith(f"{source}/"):
        return RecordedTask()
    dag_id, _, rest = joined[len(source) + 1 :].partition("/")
    run_id, _, last = rest.rpartition("/")
    task_id, opens, index = last.removesuffix("]").rpartition("[") if last.endswith("]") else (last, "", "")
    if not opens or not index.isdecimal():
        return RecordedTask(source, dag_id, run_id, last, -1)
    return RecordedTask(source, dag_id, run_id, task_id, int(index))
