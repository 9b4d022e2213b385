"""What can go wrong in a governed flow, by what its author has to do next."""

from __future__ import annotations

from typing import Any

from taskgate.errors import TaskgateError


class GovernedFlowError(TaskgateError):
    """Base. `str(error)` says what happened and what to do; survives a process boundary, as task runners need."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self.detail, self.hint)


def _again(kind: type[GovernedFlowError], message: str, detail: str | None, hint: str | None) -> GovernedFlowError:
    return kind(message, detail=detail, hint=hint)


class NotInRun(GovernedFlowError):
    """Code that runs outside a flow run: the gateway lets in runs that Prefect knows of, nobody else."""


class GatewayNotConfigured(GovernedFlowError):
    """Nothing says where the gateway is or lets this run in."""


class ApprovalRefused(GovernedFlowError):
    """Nobody will let the statement through: it was denied, it expired, or it was withdrawn. Running the same again in
    this run raises the same, without asking again."""


class ApprovalTimeout(ApprovalRefused):
    """Nobody has decided in the time that the block allows."""


class ApprovalLoop(GovernedFlowError):
    """What runs differs each time from what was approved before, or what was approved is refused nevertheless."""


class RunEnded(GovernedFlowError):
    """The flow run was cancelled or ended while it waited."""
