"""What Prefect loads of this package (entry point `prefect.collections`): worker types register themselves when their
class is made. Apart from the package itself, so that a flow that imports a block imports no worker."""

from taskgate_prefect.worker import TaskgateProcessWorker

__all__ = ["TaskgateProcessWorker"]
