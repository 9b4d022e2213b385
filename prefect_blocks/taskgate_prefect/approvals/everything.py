"""Ask for all parameter sets of a statement at once, where one of them needs a human."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from taskgate.postgres_refusals import ApprovalPending, allowed_unasked
from taskgate_prefect.approvals.asking import as_pending
from taskgate_prefect.faults import ApprovalLoop

_MOST_ASKED = 100


def ask_for_all(error: Exception, ask: Callable[[Any], None], sets: Iterable[Any]) -> None:
    """Raises ApprovalPending with the approvals of all sets that need one. Grants are for one use: going on after each
    approval would use up those given for earlier sets in every round. Returns where `error` waits for nobody."""
    if as_pending(error) is None:
        return
    found: list[ApprovalPending] = []
    for one in sets:
        try:
            ask(one)
        except Exception as asked:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
            _note(asked, found)
    if found:
        raise _all(found) from error


async def aask_for_all(error: Exception, ask: Callable[[Any], Awaitable[None]], sets: Iterable[Any]) -> None:
    """As `ask_for_all`."""
    if as_pending(error) is None:
        return
    found: list[ApprovalPending] = []
    for one in sets:
        try:
            await ask(one)
        except Exception as asked:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
            _note(asked, found)
    if found:
        raise _all(found) from error


def _note(asked: Exception, found: list[ApprovalPending]) -> None:
    pending = as_pending(asked)
    if pending is None:
        if allowed_unasked(asked):
            return
        raise asked
    found.append(pending)
    if len(found) > _MOST_ASKED:
        raise ApprovalLoop(
            f"More than {_MOST_ASKED} of these parameter sets need a human each; nothing has run.",
            hint="Say what they have in common in one statement, for one decision.",
        )


def _all(found: list[ApprovalPending]) -> ApprovalPending:
    approvals = tuple(dict.fromkeys(approval for one in found for approval in one.approvals))
    return ApprovalPending(approvals, "\n".join(str(one) for one in found))
