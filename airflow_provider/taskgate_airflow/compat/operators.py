"""What hooks and operators are made of."""

from __future__ import annotations

from typing import Any


def hook_lineage_collector() -> Any:
    """Where this process's hooks report what they touched. Collects nothing unless some plugin reads it."""
    from airflow.sdk.lineage import get_hook_lineage_collector

    return get_hook_lineage_collector()


def sql_decorated_operator() -> type:
    """What `@task.sql` makes of a function: its class is private to the provider."""
    from airflow.providers.common.sql.decorators.sql import _SQLDecoratedOperator

    found: type = _SQLDecoratedOperator
    return found
