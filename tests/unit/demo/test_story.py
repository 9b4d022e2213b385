"""How the story says what it saw."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.demo.example import AIRFLOW, PREFECT, Waiting
from taskgate.demo.forms import prefect_form, worker_form
from taskgate.demo.story import known_as, waits_how


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (AIRFLOW.deletions[0].waits, "holds its connection"),
        (AIRFLOW.deletions[1].waits, "has deferred: no worker, no connection is held"),
        (PREFECT.deletions[0].waits, "has its run suspended: no process lives, no connection is held"),
        (PREFECT.deletions[1].waits, "waits in its process, which holds no connection"),
        (Waiting(holds_connection=True, state="Running", processes=1), "holds its connection"),
    ],
)
def test_how_a_task_waits(waiting: Waiting, words: str) -> None:
    assert waits_how(waiting) == words


def test_how_a_task_is_known() -> None:
    principal: Any = SimpleNamespace(
        assurance="verified", verified_by="prefect:demo-prefect, by its worker", attempt=SimpleNamespace(try_number=2),
        attributes={"deployment": "orders-cleanup/demo", "work_pool": "governed", "task_assurance": "asserted"},
    )  # fmt: skip
    assert known_as(principal, prefect_form("http://127.0.0.1:1/api")) == (
        "verified (prefect:demo-prefect, by its worker): try 2, deployment orders-cleanup/demo, work pool governed, "
        "which task it is: asserted"
    )
    principal.assurance = "asserted"
    assert known_as(principal, worker_form()) == "asserted (prefect:demo-prefect, by its worker)"
