"""The steps of a wait, carried out with the gateway's and Prefect's APIs, in synchronous and asynchronous code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

from taskgate.client import Approval, ServiceFault
from taskgate_prefect import compat
from taskgate_prefect.approvals.prefect_calls import AWAY, Calls, Log, prefect_calls
from taskgate_prefect.approvals.waiting import Leave, Look, Sleep, Step, Waiting


def carry_out(waiting: Waiting, flow_run_id: UUID, look: Callable[[str], Approval], log: Log) -> tuple[Approval, ...]:
    """What the wait returns or raises. `look` asks the gateway; what it raises as a ServiceFault is waited out, as is
    Prefect's API while it is away."""
    answer: Any = None
    while True:
        try:
            step = waiting.send(answer)
        except StopIteration as over:
            return _given(over)
        answer = None
        try:
            match step:
                case Sleep():
                    time.sleep(step.seconds)
                case Look():
                    answer = look(step.approval_id)
                case Leave():
                    compat.leave(flow_run_id, step.state)
                case _:
                    answer = _converse(prefect_calls(step, flow_run_id, log))
        except (ServiceFault, *AWAY) as error:
            _away(step, error, log)


async def acarry_out(
    waiting: Waiting, flow_run_id: UUID, look: Callable[[str], Awaitable[Approval]], log: Log
) -> tuple[Approval, ...]:
    """As `carry_out`."""
    answer: Any = None
    while True:
        try:
            step = waiting.send(answer)
        except StopIteration as over:
            return _given(over)
        answer = None
        try:
            match step:
                case Sleep():
                    await asyncio.sleep(step.seconds)
                case Look():
                    answer = await look(step.approval_id)
                case Leave():
                    compat.leave(flow_run_id, step.state)
                case _:
                    answer = await _aconverse(prefect_calls(step, flow_run_id, log))
        except (ServiceFault, *AWAY) as error:
            _away(step, error, log)


def _converse(calls: Calls) -> Any:
    with get_client(sync_client=True) as client:
        proceed: Callable[[Any], Any] = calls.send
        answer: Any = None
        while True:
            try:
                call = proceed(answer)
            except StopIteration as over:
                return over.value
            try:
                proceed, answer = calls.send, call(client)
            except AWAY as error:
                proceed, answer = calls.throw, error


async def _aconverse(calls: Calls) -> Any:
    async with get_client() as client:
        proceed: Callable[[Any], Any] = calls.send
        answer: Any = None
        while True:
            try:
                call = proceed(answer)
            except StopIteration as over:
                return over.value
            try:
                proceed, answer = calls.send, await call(client)
            except AWAY as error:
                proceed, answer = calls.throw, error


def _given(over: StopIteration) -> tuple[Approval, ...]:
    given: tuple[Approval, ...] = over.value
    return given


def _away(step: Step, error: Exception, log: Log) -> None:
    who = "Taskgate" if isinstance(step, Look) else "Prefect's API"
    log.warning("%s cannot be asked for the moment (%s); waiting on", who, type(error).__name__)
