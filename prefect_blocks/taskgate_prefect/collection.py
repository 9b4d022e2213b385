"""What Prefect loads of this package (entry point `prefect.collections`): block and worker types register themselves
when their class is made. Apart from the package itself, so that a flow that imports a block imports no worker, and a
worker no block."""

from taskgate_prefect.async_connector import GovernedAsyncSqlAlchemyConnector
from taskgate_prefect.connector import GovernedSqlAlchemyConnector
from taskgate_prefect.gateway import TaskgateGateway
from taskgate_prefect.worker import TaskgateProcessWorker

__all__ = [
    "GovernedAsyncSqlAlchemyConnector",
    "GovernedSqlAlchemyConnector",
    "TaskgateGateway",
    "TaskgateProcessWorker",
]
