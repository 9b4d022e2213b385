"""Prefect blocks of Taskgate: databases through a gateway that knows the task run, judges what it does and asks people.

Swapping is one import: `from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskgate.postgres_refusals import ApprovalPending
    from taskgate_prefect.approvals.request import request_approval
    from taskgate_prefect.approvals.required import approval_required
    from taskgate_prefect.async_connector import GovernedAsyncSqlAlchemyConnector
    from taskgate_prefect.cache_policy import GovernedCachePolicy
    from taskgate_prefect.connector import GovernedSqlAlchemyConnector
    from taskgate_prefect.faults import ApprovalLoop, ApprovalRefused, ApprovalTimeout, GatewayNotConfigured, NotInRun
    from taskgate_prefect.gateway import TaskgateGateway

__all__ = [
    "ApprovalLoop",
    "ApprovalPending",
    "ApprovalRefused",
    "ApprovalTimeout",
    "GatewayNotConfigured",
    "GovernedAsyncSqlAlchemyConnector",
    "GovernedCachePolicy",
    "GovernedSqlAlchemyConnector",
    "NotInRun",
    "TaskgateGateway",
    "approval_required",
    "request_approval",
]

# A worker, or a flow that only asks for its identity, imports no SQLAlchemy.
_WHERE = {
    "ApprovalLoop": "taskgate_prefect.faults",
    "ApprovalPending": "taskgate.postgres_refusals",
    "ApprovalRefused": "taskgate_prefect.faults",
    "ApprovalTimeout": "taskgate_prefect.faults",
    "GatewayNotConfigured": "taskgate_prefect.faults",
    "GovernedAsyncSqlAlchemyConnector": "taskgate_prefect.async_connector",
    "GovernedCachePolicy": "taskgate_prefect.cache_policy",
    "GovernedSqlAlchemyConnector": "taskgate_prefect.connector",
    "NotInRun": "taskgate_prefect.faults",
    "TaskgateGateway": "taskgate_prefect.gateway",
    "approval_required": "taskgate_prefect.approvals.required",
    "request_approval": "taskgate_prefect.approvals.request",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
