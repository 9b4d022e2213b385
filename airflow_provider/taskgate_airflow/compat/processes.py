"""Which of Airflow's processes this is."""

from __future__ import annotations

import sys
from enum import Enum

from airflow.version import version as airflow_version

TRIGGERS_SAY_WHOSE_THEY_ARE = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 2)
"""Whether a triggerer says in a trigger's context which task instance waits for it."""


class Process(Enum):
    """What asks for a connection, as far as it matters who may answer."""

    CLIENT = "a process that asks the API server: a task's, or one that parses DAGs"
    TRIGGER_RUNNER = "the triggerer's, in which triggers run"
    SERVER = "API server, scheduler, the supervisors of DAG processor and triggerer, command line, anything unknown"


def process() -> Process:
    """Which of them this is. Only who has a supervisor to ask is a client; the unknown is a server, which denies."""
    comms = getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)
    if comms is None:
        return Process.SERVER
    decoder = getattr(sys.modules.get("airflow.jobs.triggerer_job_runner"), "TriggerCommsDecoder", None)
    return Process.TRIGGER_RUNNER if decoder is not None and isinstance(comms, decoder) else Process.CLIENT
