"""Checks whether this Airflow's tasks really go through the gateway, and through nothing else.

    python -m taskgate_airflow.doctor [--json]

Run it where Airflow is configured: on a worker, the API server and the triggerer, since each has a configuration of its
own. It changes nothing and shows no secret.
"""

from __future__ import annotations

import airflow as _airflow  # noqa: F401  first: while it is imported it imports a secrets backend of ours

from taskgate_airflow.doctor.examination import examine
from taskgate_airflow.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
