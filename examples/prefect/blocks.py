"""Registers Taskgate's block types with the Prefect of PREFECT_API_URL and saves the two blocks that the flow needs.

    python blocks.py

In the worker form they hold no key, and not even an address: a run brings along what its worker gave it. In the key
form TASKGATE_URL, TASKGATE_SOURCE and TASKGATE_API_KEY are in this script's environment (asserted/prefect.env), and end
up in the block. TASKGATE_DASHBOARD_URL is where the run's log and artifacts link to.
"""

from __future__ import annotations

import os

from pydantic import SecretStr

from taskgate_prefect import GovernedSqlAlchemyConnector, TaskgateGateway


def save() -> None:
    key = os.environ.get("TASKGATE_API_KEY")
    gateway = TaskgateGateway(
        url=os.environ.get("TASKGATE_URL") if key else None,
        source=os.environ.get("TASKGATE_SOURCE") if key else None,
        api_key=SecretStr(key) if key else None,
        dashboard_url=os.environ.get("TASKGATE_DASHBOARD_URL"),
    )
    gateway.save("taskgate", overwrite=True)
    GovernedSqlAlchemyConnector(gateway=gateway, target="orders-db").save("orders", overwrite=True)


if __name__ == "__main__":
    save()
