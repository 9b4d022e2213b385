"""`@approval_required`: wait for a human with code of your own, and run it again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from prefect import Flow, Task
from prefect.logging import get_run_logger

from taskgate.client import Approval, NotFound
from taskgate_prefect.approvals.asking import Asking
from taskgate_prefect.credentials import AttemptCredential, in_this_process
from taskgate_prefect.faults import NotInRun
from taskgate_prefect.run_attempt import current_run

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Wait = Literal["automatic", "pause"]


@overload
def approval_required(function: Callable[Parameters, Returned], /) -> Callable[Parameters, Returned]: ...


@overload
def approval_required(
    *, wait: Wait = "automatic", timeout: float | None = None
) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]: ...


def approval_required(function: Any = None, /, *, wait: Wait = "automatic", timeout: float | None = None) -> Any:
    """
    For the function of a task or a flow: when something in it is refused until a human approves, wait for that and run
    the function again, from its beginning. Nothing that it does before may be wrong to do twice.

    It waits for what engines and connections of a governed connector raise (`get_engine`, `get_connection`,
    pandas.read_sql, sessions of your own), and for ApprovalPending of connectors that say `raise`. `wait` and `timeout`
    (seconds) are as the blocks' `approval_wait` and `approval_timeout`.

    Raises ApprovalRefused where nobody will approve, ApprovalLoop where what runs differs each time.

    Example:
        ```python
        import pandas
        from prefect import task
        from taskgate_prefect import GovernedSqlAlchemyConnector, approval_required

        @task
        @approval_required
        def salaries() -> pandas.DataFrame:
            with GovernedSqlAlchemyConnector.load("hr") as database:
                return pandas.read_sql("SELECT * FROM salaries", database.get_engine())
        ```
    """
    if function is None:
        return functools.partial(_wrapped, wait=wait, timeout=timeout)
    return _wrapped(function, wait=wait, timeout=timeout)


def _wrapped(function: Any, *, wait: Wait, timeout: float | None) -> Any:
    if isinstance(function, Task | Flow) or not callable(function):
        raise TypeError(
            "@approval_required belongs below @task or @flow: it is for the function, not for what they make"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("@approval_required cannot run a generator again: what it has yielded is taken")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            return await _asking(wait, timeout).aexecute(lambda: function(*args, **kwargs), _alook)

        return arun

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return _asking(wait, timeout).execute(lambda: function(*args, **kwargs), _look)

    return run


def _asking(wait: Wait, timeout: float | None) -> Asking:
    return Asking(running=current_run(), log=get_run_logger(), wait=wait, limit=timeout, repeatable=True)


def _credentials() -> list[AttemptCredential]:
    """Newest first. Raises NotInRun where no governed connector was used: what was refused is nobody's here."""
    found = in_this_process.of_current()
    if not found:
        raise NotInRun(
            "Something waits for a human, and no governed connector was used in this run: who asked is not known.",
            hint="Take engines and connections from a governed connector, in the function that waits.",
        )
    return found[::-1]


def _look(approval_id: str) -> Approval:
    *others, last = _credentials()
    for credential in others:
        try:
            return in_this_process.approval(credential, approval_id)
        except NotFound:
            continue
    return in_this_process.approval(last, approval_id)


async def _alook(approval_id: str) -> Approval:
    *others, last = _credentials()
    for credential in others:
        try:
            return await in_this_process.aapproval(credential, approval_id)
        except NotFound:
            continue
    return await in_this_process.aapproval(last, approval_id)
