"""The demo's promises about attempts are broken where what they say is not so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.demo import attempt_promises
from taskgate.demo.airflow_full import place_in
from taskgate.demo.attempt_promises import credentials_die, known_as_promised
from taskgate.demo.forms import LastReads, prefect_form, server_form, worker_form
from taskgate.demo.orchestrator import TaskEnd

NOW = datetime.now(UTC)
FACTS = {"bundle": "dags-folder", "dag_version": 1, "triggering_user": "lee"}


@dataclass(frozen=True)
class Known:
    name: str = "orders_cleanup.reads"
    assurance: str = "verified"
    verified_by: str = "airflow:demo-airflow, by its token"
    attempt: Any = field(default_factory=lambda: SimpleNamespace(id="try-1"))
    attributes: Any = field(default_factory=lambda: dict(FACTS))


def stage(*, known: list[Known] | None = None, credentials: list[Any] | None = None, live: int = 0) -> Any:
    held = credentials or []

    @contextmanager
    def client(name: str) -> Iterator[Any]:
        yield SimpleNamespace(
            sessions=lambda chosen: [SimpleNamespace(principal=one) for one in known or []],
            credentials=lambda attempt, live_=None, live=None: iter(held[:alive] if live else held),
        )

    alive = live
    return SimpleNamespace(client=client)


def airflow(form: Any, keys: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(form=form, keys_on_workers=keys)


TASKS = {"reads": TaskEnd("success", attempts=("try-1",))}


def test_verified(tmp_path: Path) -> None:
    full = server_form(place_in(tmp_path))
    assert known_as_promised(stage(known=[Known()]), airflow(full), TASKS).held
    for wrong in (
        replace(Known(), assurance="asserted"),
        replace(Known(), attempt=SimpleNamespace(id="another")),
        replace(Known(), verified_by="somebody's word"),
        replace(Known(), attributes={**FACTS, "triggering_user": None}),
        replace(Known(), name="orders_cleanup.another"),
    ):
        assert not known_as_promised(stage(known=[wrong]), airflow(full), TASKS).held, wrong
    assert not known_as_promised(stage(known=[]), airflow(full), TASKS).held
    with_key = known_as_promised(stage(known=[Known()]), airflow(full, ("airflow-triggerer",)), TASKS)
    assert not with_key.held
    assert "keys where workers run: 1" in with_key.observed


def test_verified_by_its_worker() -> None:
    form = prefect_form("http://127.0.0.1:1/api")
    facts = {"deployment": "orders-cleanup/demo", "work_pool": "governed", "task_assurance": "asserted"}
    known = replace(Known(), verified_by="prefect:demo-prefect, by its worker", attributes=facts)
    promise = known_as_promised(stage(known=[known]), airflow(form), TASKS)
    assert promise.held
    assert "work pool governed, which task it is: asserted; keys where flows run: 0" in promise.observed
    for wrong in (
        replace(known, verified_by="prefect:demo-prefect, by its deployment"),
        replace(known, attributes={**facts, "work_pool": None}),
    ):
        assert not known_as_promised(stage(known=[wrong]), airflow(form), TASKS).held, wrong
    assert not known_as_promised(stage(known=[known]), airflow(form, ("prefect-worker",)), TASKS).held
    more = {**TASKS, "deletes": TaskEnd("never started", started=False)}
    assert known_as_promised(stage(known=[known]), airflow(form), more).held
    more = {**TASKS, "deletes": TaskEnd("FAILED", attempts=("try-2",))}
    assert not known_as_promised(stage(known=[known]), airflow(form), more).held


def test_where_nobody_could_look_for_keys_nothing_is_promised() -> None:
    class Unseen:
        form = prefect_form("http://127.0.0.1:1/api")

        @property
        def keys_on_workers(self) -> list[str]:
            raise RuntimeError("no process was seen")

    unseen: Any = Unseen()
    promise = known_as_promised(stage(known=[]), unseen, {})
    assert not promise.held
    assert promise.observed.endswith("no process was seen")


def test_asserted_is_called_asserted() -> None:
    quick = airflow(worker_form(), ("airflow",))
    promise = known_as_promised(stage(known=[replace(Known(), assurance="asserted")]), quick, TASKS)
    assert promise.held
    assert "asserted" in promise.text
    assert not known_as_promised(stage(known=[Known()]), quick, TASKS).held


def credential(**over: Any) -> Any:
    return SimpleNamespace(
        **{"confined_until": NOW, "revoked_at": None, "expires_at": NOW + timedelta(hours=1), **over}
    )


LAST = LastReads("it dies", "it is over", "waiting")


def test_credentials_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_promises, "_MOST_SECONDS", 0.0)
    monkeypatch.setattr("time.sleep", lambda _: None)

    def held(shown: Any) -> bool:
        return credentials_die(shown, "DAG", LAST, TASKS).held

    assert held(stage(credentials=[credential()]))
    assert not held(stage(credentials=[]))
    assert not held(stage(credentials=[credential(confined_until=None)]))
    assert not held(stage(credentials=[credential()], live=1))
    assert not held(stage(credentials=[credential(expires_at=NOW - timedelta(seconds=1))]))


def test_an_end_that_nobody_tells_is_noticed_in_time() -> None:
    noticing = replace(LAST, noticed_within=5.0)
    writing = credential(confined_until=None)
    shown = stage(credentials=[writing])
    looks = iter(range(3))

    def noticed(seconds: float) -> None:
        if next(looks) == 2:
            writing.confined_until = NOW

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", noticed)
        assert credentials_die(shown, "flow", noticing, TASKS).held
