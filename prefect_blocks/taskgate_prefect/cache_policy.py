"""Results of governed reads, kept for those who may see the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.blocks.core import Block
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.utilities.hashing import hash_objects

from taskgate_prefect.credentials import in_this_process
from taskgate_prefect.faults import GatewayNotConfigured
from taskgate_prefect.governed_connection import GovernedConnection
from taskgate_prefect.run_attempt import current_attempt


@dataclass
class GovernedCachePolicy(CachePolicy):
    """
    A key that two task runs share only where the gateway shows them the same: it changes with the policy and with
    everything that policy may look at in a task. Add it to what says which result is meant.

    `database` is a governed connector or the name of a saved one (`"governed-sqlalchemy-connector/orders"`); without
    one, those among the task's parameters count. Where the gateway cannot be asked, nothing is kept and nothing found.

    Example:
        ```python
        from prefect import task
        from prefect.cache_policies import INPUTS
        from taskgate_prefect import GovernedCachePolicy, GovernedSqlAlchemyConnector

        @task(cache_policy=INPUTS + GovernedCachePolicy("governed-sqlalchemy-connector/orders"))
        def customers(country: str) -> list:
            with GovernedSqlAlchemyConnector.load("orders") as database:
                return database.fetch_all("SELECT * FROM customers WHERE country = :country", {"country": country})
        ```
    """

    database: GovernedConnection | str | None = None

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """Raises where it cannot be told: Prefect leaves out a part of a key that is None, and would share the rest."""
        keys = [(one.target, _answers_key(one)) for one in self._connectors(inputs)]
        key = hash_objects(sorted(keys))
        if not keys or key is None:
            raise GatewayNotConfigured(
                "GovernedCachePolicy knows no governed connector: none was given to it, and none is a parameter of the "
                "task."
            )
        return key

    def _connectors(self, inputs: dict[str, Any]) -> list[GovernedConnection]:
        if isinstance(self.database, str):
            loaded: Any = Block.load(self.database, _sync=True)  # type: ignore[call-arg]
            return [loaded]
        if self.database is not None:
            return [self.database]
        return [one for one in (inputs or {}).values() if isinstance(one, GovernedConnection)]


def _answers_key(connector: GovernedConnection) -> str:
    credential = in_this_process.current(connector.gateway.access(), connector.target, current_attempt())
    with credential.client() as client:
        key = client.attempt().answers_key
    if not key:
        raise GatewayNotConfigured(
            "This gateway does not say which tasks are shown the same: it is older than the block."
        )
    return key
