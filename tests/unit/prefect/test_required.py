"""What `@approval_required` may stand above; how it waits is shown in tests/integration/prefect."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
from prefect import flow, task

from taskgate_prefect import NotInRun, approval_required


def test_it_stays_a_function_of_its_name_and_kind() -> None:
    @approval_required
    def works(number: int) -> str:
        """What it does."""
        return str(number)

    @approval_required(wait="pause", timeout=5)
    async def awaits() -> None:
        """As well."""

    assert (works.__name__, works.__doc__) == ("works", "What it does.")
    assert list(inspect.signature(works).parameters) == ["number"]
    assert inspect.iscoroutinefunction(awaits)


@pytest.mark.parametrize("made", [task(lambda: None), flow(lambda: None, name="a-flow")])
def test_it_belongs_below_what_makes_tasks_and_flows(made: object) -> None:
    with pytest.raises(TypeError, match="below @task or @flow"):
        approval_required(made)  # type: ignore[arg-type]


def test_generators_cannot_run_again() -> None:
    def yields() -> Iterator[int]:
        yield 1

    async def ayields() -> AsyncIterator[int]:
        yield 1

    for function in (yields, ayields):
        with pytest.raises(TypeError, match="generator"):
            approval_required(function)


def test_outside_of_a_flow_run_nobody_is_asked() -> None:
    @approval_required
    def works() -> None:
        raise AssertionError("it must not run")

    @approval_required
    async def awaits() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(NotInRun):
        works()
    with pytest.raises(NotInRun):
        asyncio.run(awaits())
