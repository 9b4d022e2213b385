"""What the worker tells the process of a flow run, by the names of its environment."""

from __future__ import annotations

URL = "TASKGATE_URL"
CA_FILE = "TASKGATE_CA_FILE"
SOURCE = "TASKGATE_SOURCE"
"""Which Prefect this is, by the gateway's name for it."""
RUN_SECRET = "TASKGATE_RUN_SECRET"  # noqa: S105  the variable's name
"""Exchanged once, by the run's first process that needs it, for:"""
RUN_TOKEN = "TASKGATE_RUN_TOKEN"  # noqa: S105
"""What every process of the run shows from then on."""
