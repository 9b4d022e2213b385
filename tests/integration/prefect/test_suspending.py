"""Runs of a deployment: no process is held while a human decides. Each is started as often as a worker would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from tests.integration.prefect import suspending_flows
from tests.integration.prefect.deployed import DeployedRun, deployed_run
from tests.integration.prefect.governed_prefect import GovernedPrefect

_FILE = Path(suspending_flows.__file__)


@pytest.fixture
def marks(governed: GovernedPrefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "marks"
    file.touch()
    monkeypatch.setenv("TASKGATE_TEST_MARKS", str(file))
    governed.gateway().save("taskgate", overwrite=True)
    governed.connector().save("suspending", overwrite=True)
    governed.async_connector().save("suspending", overwrite=True)
    return file


def approve_all(governed: GovernedPrefect, approve: bool = True) -> list[str]:
    with governed.shop.client() as client:
        found = [approval.id for approval in client.approvals(state=["pending"])]
        for one in found:
            (client.approve if approve else client.deny)(one, "by the test")
    return found


def until_completed(governed: GovernedPrefect, run: DeployedRun) -> list[int]:
    """Starts it, approves what it asks for, and again; returns how much was asked for each time."""
    asked = []
    run.start()
    while run.state.name == "Suspended":
        asked.append(len(approve_all(governed)))
        run.resumed()
        run.start()
    assert run.state.is_completed(), run.state
    return asked


def seen(governed: GovernedPrefect, *orders: int) -> int:
    return governed.count(f"status = 'seen' AND id IN ({', '.join(map(str, orders))})")


def _long(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("name", "orders", "marked"),
    [
        ("in_a_task", (100,), ["prepares 100", "updates 100", "updates 100"]),
        _long("in_the_body", (101,), ["prepares 101"]),
        _long("asynchronously", (102, 103), None),
        _long("on_threads", (104, 105, 106), None),
        _long("with_a_block_as_parameter", (107, 108), ["given 107", "given 107", "given 108", "given 108"]),
    ],
)
def test_a_run_is_suspended_and_started_again(
    governed: GovernedPrefect, marks: Path, name: str, orders: tuple[int, ...], marked: list[str] | None
) -> None:
    run = deployed_run(getattr(suspending_flows, name), _FILE, marks.parent)
    asked = until_completed(governed, run)
    assert run.starts == len(asked) + 1 >= 2
    assert seen(governed, *orders) == len(orders)
    assert sum(asked) == len(orders), "nothing is asked for twice"
    if marked is not None:
        assert marks.read_text().splitlines() == marked


@pytest.mark.long
def test_resumed_by_hand_it_is_suspended_again(governed: GovernedPrefect, marks: Path) -> None:
    run = deployed_run(suspending_flows.in_a_task, _FILE, marks.parent)
    reopen(governed)
    run.start()
    with get_client(sync_client=True) as client:
        said = {"approval_id": governed.pending().id, "decision": "approved"}
        assert client.resume_flow_run(run.id, run_input=said).status.value == "ACCEPT"
    run.start()
    assert run.state.name == "Suspended"
    assert seen(governed, 100) == 0
    assert until_completed(governed, run) == [1]


def reopen(governed: GovernedPrefect) -> None:
    governed.shop.query("UPDATE orders SET status = 'open' WHERE id = 100 RETURNING 1")


@pytest.mark.long
def test_a_denial_fails_the_run(governed: GovernedPrefect, marks: Path) -> None:
    reopen(governed)
    run = deployed_run(suspending_flows.in_a_task, _FILE, marks.parent)
    run.start()
    assert run.state.name == "Suspended"
    denied = approve_all(governed, approve=False)
    run.resumed()
    run.start(fails=True)
    assert run.state.is_failed()
    assert seen(governed, 100) == 0
    assert len(denied) == 1


@pytest.mark.parametrize(
    ("name", "orders"), [("after_a_write", (109,)), _long("without_results", (110,)), _long("in_processes", (111, 112))]
)
def test_what_would_be_done_twice_is_paused(
    governed: GovernedPrefect, marks: Path, name: str, orders: tuple[int, ...]
) -> None:
    before: list[Any] = governed.shop.query("SELECT city FROM customers WHERE id = 7")
    run = deployed_run(getattr(suspending_flows, name), _FILE, marks.parent)
    with governed.deciding():
        run.start()
    assert run.state.is_completed()
    assert seen(governed, *orders) == len(orders)
    after: list[Any] = governed.shop.query("SELECT city FROM customers WHERE id = 7")
    assert after[0][0] == before[0][0] + ("+" if name == "after_a_write" else "")


@pytest.mark.long
def test_what_was_asked_up_front_is_not_asked_again(governed: GovernedPrefect, marks: Path) -> None:
    run = deployed_run(suspending_flows.asking_up_front, _FILE, marks.parent)
    assert until_completed(governed, run) == [1]
    assert marks.read_text().splitlines() == ["asks 113", "asks 113", "updates 113"]
    assert seen(governed, 113) == 1
