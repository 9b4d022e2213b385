from __future__ import annotations

from pathlib import Path

import pytest

from taskgate.domain import Assurance, Attempt, Principal, PrincipalKind, TaskKey
from taskgate.recording.choosing import Chosen, RecordedFilter, RecordedTask, choose, task_of
from taskgate.recording.recorder import Recorder
from taskgate.recording.records import RecordKind, SessionOpened
from tests.unit.recording.samples import header, session


@pytest.fixture
async def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path / "data")
    session(made, "ses_a")
    key = TaskKey("airflow", "etl", "run/2", "load", 3)
    started = {"triggering_user": "bob"}
    mapped = Principal(
        PrincipalKind.TASK, "etl.load", "airflow", Assurance.VERIFIED, "jwt", started, Attempt("ti-2", key)
    )
    alice = Principal(PrincipalKind.USER, "alice", "taskgate", Assurance.VERIFIED, "api_key")
    for session_id, principal in (("ses_b", mapped), ("ses_c", alice)):
        recording = made.open(header(session_id))
        opened = SessionOpened.of(principal, target="t", protocol="postgres", client_address="x", credential_id="tg_1")
        recording.append(RecordKind.SESSION_OPENED, opened)
        recording.close("done")
    await made.settle()
    return made


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (RecordedFilter(dag_id="etl"), ("ses_a", "ses_b")),
        (RecordedFilter(dag_id="etl", run_id="run-1", task_id="load"), ("ses_a",)),
        (RecordedFilter(run_id="run/2", map_index=3), ("ses_b",)),
        (RecordedFilter(attempt="ti-2"), ("ses_b",)),
        (RecordedFilter(principal="user:taskgate:alice"), ("ses_c",)),
        (RecordedFilter(target="orders-db"), ("ses_a",)),
        (RecordedFilter(dag_id="et"), ()),
        (RecordedFilter(name="ET lo run-"), ("ses_a",)),
        (RecordedFilter(name="etl nothing"), ()),
        (RecordedFilter(person="ALI"), ("ses_c",)),
        (RecordedFilter(person="bob"), ("ses_b",)),
    ],
)
async def test_everything_given_must_hold_exactly(
    recorder: Recorder, chosen: RecordedFilter, found: tuple[str, ...]
) -> None:
    assert choose(recorder.recordings, chosen) == Chosen(found, 0)
    await recorder.stop()


async def test_what_is_erased_is_counted(recorder: Recorder) -> None:
    await recorder.erase("ses_a")
    assert choose(recorder.recordings, RecordedFilter(dag_id="etl")) == Chosen(("ses_b",), 1)
    await recorder.stop()


@pytest.mark.parametrize(
    ("joined", "task"),
    [
        ("airflow/etl/run-1/load", RecordedTask("airflow", "etl", "run-1", "load", -1)),
        ("airflow/etl/a/b/load[12]", RecordedTask("airflow", "etl", "a/b", "load", 12)),
        ("prefect/etl/run-1/load", RecordedTask()),
        (None, RecordedTask()),
    ],
)
def test_early_versions_recorded_the_joined_name(joined: str | None, task: RecordedTask) -> None:
    assert task_of({"principal_source": "airflow", "task": joined}) == task
