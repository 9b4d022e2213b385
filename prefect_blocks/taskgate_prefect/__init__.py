"""Prefect blocks of Taskgate: databases through a gateway that knows the task run, judges what it does and asks people.

Swapping is one import: `from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector`.
"""

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
