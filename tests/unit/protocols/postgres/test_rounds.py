"""What sessions have to do at the end of a round of the event loop."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from taskgate.protocols.postgres.rounds import Rounds


async def test_steps_run_together_at_the_end_of_the_round_in_order() -> None:
    rounds, done = Rounds(), []
    rounds.join(lambda: done.append(1))
    rounds.join(lambda: done.append(2))
    assert done == []
    await asyncio.sleep(0)
    assert done == [1, 2]


async def test_what_is_joined_by_a_step_runs_in_the_next_round() -> None:
    rounds, done = Rounds(), []
    rounds.join(lambda: rounds.join(lambda: done.append("next")))
    await asyncio.sleep(0)
    assert done == []
    await asyncio.sleep(0)
    assert done == ["next"]


async def test_a_step_that_fails_costs_no_other_session_its_own() -> None:
    def failing() -> None:
        raise RuntimeError("one session's affair")

    rounds, done = Rounds(), []
    rounds.join(failing)
    rounds.join(lambda: done.append("the other's"))
    with capture_logs() as logs:
        await asyncio.sleep(0)
    assert done == ["the other's"]
    assert [entry["log_level"] for entry in logs] == ["error"]
