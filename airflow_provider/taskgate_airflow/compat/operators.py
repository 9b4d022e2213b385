"""What hooks and operators are made of."""

from __future__ import annotations

from typing import Any


def hook_lineage_collector() -> Any | None:
    """Where this process's hooks report what they touched. Collects nothing unless some plugin reads it. None in
    Airflow 3.1, whose lineage knows nothing but assets."""
    try:
        from airflow.sdk.lineage import get_hook_lineage_collector
    except ImportError:
        return None
    return get_hook_lineage_collector()


def hook_lineage_readers() -> list[type]:
    """For a plugin, so that hooks report."""
    try:
        from airflow.sdk.lineage import HookLineageReader
    except ImportError:
        return []
    return [HookLineageReader]


def sql_decorated_operator() -> type:
    """What `@task.sql` makes of a function: its class is private to the provider."""
    from airflow.providers.common.sql.decorators.sql import _SQLDecoratedOperator

    found: type = _SQLDecoratedOperator
    return found
