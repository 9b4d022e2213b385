"""A worker makes a flow run known to the gateway that it is about to start, and gets the run's one-time secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskgate.errors import TaskgateError
from taskgate_prefect.run_environment import CA_FILE, RUN_SECRET, SOURCE, URL
from taskgate_prefect.worker_access import WorkerAccess, worker_access

if TYPE_CHECKING:
    from taskgate.client import TaskgateApiError
    from taskgate.client.models import RegisteredRun

_TIMEOUT = 3.0  # seconds a try
_TRIES = 2


class RunNotRegistered(TaskgateError):
    """The gateway does not know the flow run, so it is not started. The message is what Prefect shows of the run."""


async def registered(flow_run_id: str, job_variables: Sequence[str]) -> dict[str, str]:
    """What the run's process needs in its environment. `job_variables`: the names of those that the run itself sets, as
    the worker has read them: they can be changed in Prefect before the gateway looks. Raises RunNotRegistered,
    WorkerNotConfigured; within seconds."""
    from taskgate.client import AsyncClient, TaskgateApiError

    access = worker_access()
    async with AsyncClient(access.url, access.key(), ca_file=access.ca_file, timeout=_TIMEOUT, tries=_TRIES) as gateway:
        try:
            run = await gateway.register_run(access.source, flow_run_id, job_variables=job_variables)
            return _environment(access, run)
        except TaskgateApiError as error:
            raise _not_registered(access, error) from error


def registered_now(flow_run_id: str, job_variables: Sequence[str]) -> dict[str, str]:
    """The same for code that does not await; the event loop stands still for as long."""
    from taskgate.client import Client, TaskgateApiError

    access = worker_access()
    with Client(access.url, access.key(), ca_file=access.ca_file, timeout=_TIMEOUT, tries=_TRIES) as gateway:
        try:
            run = gateway.register_run(access.source, flow_run_id, job_variables=job_variables)
            return _environment(access, run)
        except TaskgateApiError as error:
            raise _not_registered(access, error) from error


def _environment(access: WorkerAccess, run: RegisteredRun) -> dict[str, str]:
    ca_file = access.run_ca_file or access.ca_file
    trust = {CA_FILE: ca_file} if ca_file else {}
    return {
        URL: access.run_url or access.url,
        SOURCE: access.source,
        **trust,
        RUN_SECRET: run.secret.get_secret_value(),
    }


def _not_registered(access: WorkerAccess, error: TaskgateApiError) -> RunNotRegistered:
    from taskgate.client import NotAuthenticated, ServiceFault

    if isinstance(error, ServiceFault):
        return RunNotRegistered(
            f"Taskgate at {access.url} cannot register this run now, so it was not started: {error}. "
            "Run it again once it can."
        )
    if isinstance(error, NotAuthenticated):
        return RunNotRegistered(f"Taskgate does not know this worker's key: {error}. Give the worker a new one.")
    return RunNotRegistered(f"Taskgate does not let this worker start the run: {error}")
