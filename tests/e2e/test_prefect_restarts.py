"""A flow run's wait for a human outlives what goes down meanwhile: its worker, Prefect's server, the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.governed_prefect import GovernedPrefect
from tests.e2e.waiting_runs import ask, decide, done, last_order, there

pytestmark = pytest.mark.timeout(400)  # with real_prefect's processes


@pytest.fixture
def order(governed_prefect: GovernedPrefect) -> int:
    return last_order(governed_prefect)


@pytest.fixture(autouse=True)
def no_other_workers(governed_prefect: GovernedPrefect) -> Iterator[None]:
    """Whoever starts the runs here is what is killed."""
    assert not governed_prefect.prefect.workers
    yield
    for name in list(governed_prefect.prefect.workers):
        governed_prefect.prefect.stop_worker(name)


def worker_killed(governed_prefect: GovernedPrefect) -> None:
    """And another one started."""
    governed_prefect.prefect.workers["short-worker"].kill()
    governed_prefect.prefect.stop_worker("short-worker")
    governed_prefect.start_worker("next-worker")


def server_killed(governed_prefect: GovernedPrefect) -> None:
    governed_prefect.prefect.restart_server(at_once=True)


def gateway_killed(governed_prefect: GovernedPrefect) -> None:
    governed_prefect.shop.gateway.kill()
    governed_prefect.shop.gateway.start()


@pytest.mark.parametrize(
    ("wait", "happens"),
    [
        pytest.param("automatic", worker_killed, marks=pytest.mark.long),
        pytest.param("automatic", server_killed, marks=pytest.mark.long),
        pytest.param("automatic", gateway_killed, marks=pytest.mark.long),
        pytest.param("pause", server_killed, marks=pytest.mark.long),
        ("pause", gateway_killed),
    ],
)
def test_no_wait_is_lost(
    governed_prefect: GovernedPrefect, order: int, wait: str, happens: Callable[[GovernedPrefect], None]
) -> None:
    governed_prefect.start_worker("short-worker")
    run, approval = ask(governed_prefect, order, wait)
    happens(governed_prefect)
    assert there(governed_prefect, order)
    decide(governed_prefect, approval)
    done(governed_prefect, run, order)


@pytest.mark.long
def test_what_is_decided_while_prefect_is_away_is_not_lost(governed_prefect: GovernedPrefect, order: int) -> None:
    governed_prefect.start_worker("patient-worker")
    run, approval = ask(governed_prefect, order, "automatic")
    governed_prefect.prefect.stop_server(at_once=True)
    decide(governed_prefect, approval)
    governed_prefect.prefect.start_server()
    done(governed_prefect, run, order)


@pytest.mark.long
def test_a_process_that_died_while_its_run_was_paused_carries_out_nothing(
    governed_prefect: GovernedPrefect, order: int
) -> None:
    """With its worker: Prefect takes the run for paused, then for running. A person has it run again."""
    governed_prefect.start_worker("lost-worker")
    run, approval = ask(governed_prefect, order, "pause")
    governed_prefect.prefect.stop_worker("lost-worker", at_once=True)
    decide(governed_prefect, approval)
    run.wait("RUNNING")
    time.sleep(5)
    assert there(governed_prefect, order)
    governed_prefect.start_worker("found-worker")
    run.set_state("CRASHED", force=True)
    run.retry()
    done(governed_prefect, run, order)


@pytest.mark.long
def test_a_paused_run_whose_worker_alone_died_ends_before_it_carries_anything_out(
    governed_prefect: GovernedPrefect, order: int
) -> None:
    """It ends as it writes to the worker that is no longer there. What was approved waits for its next start."""
    worker = governed_prefect.start_worker("dead-worker")
    run, approval = ask(governed_prefect, order, "pause")
    worker.kill()
    decide(governed_prefect, approval)
    assert run.end().type == "CRASHED"
    assert there(governed_prefect, order)
    governed_prefect.start_worker("live-worker")
    run.retry()
    done(governed_prefect, run, order)
