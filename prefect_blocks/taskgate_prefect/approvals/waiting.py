"""How a flow run waits for a human, as steps that others carry out: no I/O here, so that synchronous and asynchronous
code wait by the same rules.

What ends the wait is what the gateway says of the approval. The run's pause is what people see of it, and what keeps
Prefect from taking the run for a hanging one; it is entered where Prefect lets it, and whoever resumes it only makes
the run look again.
"""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from taskgate.client import Approval
from taskgate.domain import ApprovalState
from taskgate_prefect import compat
from taskgate_prefect.approvals.page import LOOK_AGAIN
from taskgate_prefect.faults import ApprovalRefused, ApprovalTimeout, RunEnded

_FIRST_SLEEP, _LONGEST_SLEEP = 0.5, 5.0
_BEYOND = 60.0  # seconds that Prefect's own limit lies behind ours, which says more


class Manner(enum.Enum):
    """`PAUSE`: the process waits. `SUSPEND`: it ends, and a worker starts the run again once it is decided."""

    PAUSE = "pause"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the gateway. Answered by the Approval; by None where it is away for the moment."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class SeeRun:
    """Answered by the flow run's state; by None where Prefect's API is away for the moment."""


@dataclass(frozen=True, slots=True)
class PauseRun:
    """Answered by the state the run is in now; by None where Prefect does not let it pause."""

    approval: Approval
    key: str
    seconds: float
    suspended: bool


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Only if it is still paused with this key: the gateway resumes as well."""

    key: str
    approval_id: str
    decision: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End this process' part in the run. Never answered."""

    state: Any


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


Step = Look | SeeRun | PauseRun | ResumeRun | Leave | Sleep
Waiting = Generator[Step, Any, tuple[Approval, ...]]


def until_approved(
    approval_ids: Sequence[str],
    manner: Manner,
    limit: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Waiting:
    """Returns the approvals once all of them are given. Raises ApprovalRefused as soon as one will not be,
    ApprovalTimeout after `limit` seconds, RunEnded where the flow run is cancelled meanwhile."""
    started = clock()
    given = []
    for approval_id in dict.fromkeys(approval_ids):
        found, key = yield from _decided(approval_id, manner, started, limit, clock)
        if key is not None:
            yield ResumeRun(key, approval_id, found.state.value)
        if found.state is ApprovalState.WITHDRAWN:
            yield from _leave_cancelled((yield SeeRun()))
        if found.state is not ApprovalState.APPROVED:
            raise ApprovalRefused(_said(found), hint="Change what runs, or talk to who decided.")
        given.append(found)
    return tuple(given)


def _decided(
    approval_id: str, manner: Manner, started: float, limit: float | None, clock: Callable[[], float]
) -> Generator[Step, Any, tuple[Approval, str | None]]:
    """The approval once it is no longer pending, and the key of the pause that this wait is still in."""
    key: str | None = None
    sleep = _FIRST_SLEEP
    while True:
        found: Approval | None = yield Look(approval_id)
        if found is not None and found.state is not ApprovalState.PENDING:
            return found, key
        left = None if limit is None else limit - (clock() - started)
        if left is not None and left <= 0:
            if key is not None:
                yield ResumeRun(key, approval_id, LOOK_AGAIN)
            raise ApprovalTimeout(
                f"Nobody has decided {approval_id} within {limit:g} s; nothing has run.",
                hint="The request stays open until it expires: once it is approved, running the flow again finds it.",
            )
        state = yield SeeRun()
        yield from _leave_cancelled(state)
        if compat.is_over(state):
            raise RunEnded(f"The flow run is {state.name} while {approval_id} is undecided; nothing has run.")
        if manner is Manner.SUSPEND and compat.is_suspended(state):
            yield Leave(state)
        if found is not None and compat.is_running(state):
            wanted = f"{approval_id}-{secrets.token_hex(4)}"  # never one that was used: Prefect skips those
            entered = yield PauseRun(found, wanted, _seconds(found, left), manner is Manner.SUSPEND)
            if entered is not None:
                key, sleep = wanted, _FIRST_SLEEP
                if manner is Manner.SUSPEND:
                    yield from _leave(approval_id, key, entered)
                continue  # decided while the run was on its way into the pause? Then nobody else resumes it
        yield Sleep(sleep if left is None else min(sleep, left))
        sleep = min(sleep * 1.5, _LONGEST_SLEEP)


def _leave_cancelled(state: Any) -> Generator[Step, Any, None]:
    """A run that somebody has cancelled stays that: an error would make it a failed one."""
    if compat.is_cancelled(state):
        yield Leave(state)


def _leave(approval_id: str, key: str, state: Any) -> Generator[Step, Any, None]:
    found: Approval | None = yield Look(approval_id)
    if found is not None and found.state is not ApprovalState.PENDING:
        yield ResumeRun(key, approval_id, found.state.value)
    yield Leave(state)


def _seconds(approval: Approval, left: float | None) -> float:
    """How long Prefect keeps the run paused. By the gateway's clock alone: two of its times."""
    lifetime = (approval.expires_at - approval.requested_at).total_seconds()
    return (lifetime if left is None else min(lifetime, left)) + _BEYOND


def _said(found: Approval) -> str:
    words = {
        ApprovalState.DENIED: "was denied",
        ApprovalState.EXPIRED: "expired before anybody decided",
        ApprovalState.WITHDRAWN: "was withdrawn",
    }
    text = f"Approval {found.id} {words.get(found.state, found.state.value)}"
    text += f" by {_one_line(found.decided_by)}" if found.decided_by else ""
    return text + (f": {_one_line(found.comment)}" if found.comment else "") + "; nothing has run."


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
