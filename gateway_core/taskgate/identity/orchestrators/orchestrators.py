"""Every orchestrator that the gateway knows: who its tasks are, and for how long they are it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.airflow.source import AirflowSource
from taskgate.identity.orchestrators.airflow.tasks import AirflowTasks
from taskgate.identity.orchestrators.endings import Endings, Requests
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.identity.orchestrators.prefect.flow_runs import PrefectFlowRuns
from taskgate.identity.orchestrators.prefect.source import PrefectSource
from taskgate.identity.orchestrators.source import Source
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.settings_airflow import AirflowSettings
from taskgate.settings_prefect import PrefectSettings
from taskgate.store.attempts import Attempts


class Orchestrators:
    """One a process. No two sources have the same name."""

    def __init__(
        self,
        attempts: Attempts,
        credentials: Credentials,
        requests: Requests,
        registered: RegisteredRuns,
        *,
        airflows: Sequence[AirflowSource] = (),
        prefects: Sequence[PrefectSource] = (),
    ) -> None:
        self.attempts = attempts
        self.registered = registered
        self.endings = Endings(attempts, credentials, requests, registered)
        self.airflows = {source.name: source for source in airflows}
        self.prefects = {source.name: source for source in prefects}
        self.airflow = AirflowTasks(self.airflows, attempts, credentials, self.endings)
        self.prefect = PrefectFlowRuns(self.prefects, attempts, credentials, registered, self.endings)

    @classmethod
    async def open(
        cls,
        airflows: Sequence[AirflowSettings],
        prefects: Sequence[PrefectSettings],
        fetch: Fetch,
        stack: AsyncExitStack,
        *,
        attempts: Attempts,
        credentials: Credentials,
        requests: Requests,
        registered: RegisteredRuns,
    ) -> Orchestrators:
        """Raises GatewayFault where a secret that is needed at once cannot be fetched."""
        return cls(
            attempts, credentials, requests, registered,
            airflows=[await AirflowSource.open(one, fetch, stack) for one in airflows],
            prefects=[await PrefectSource.open(one, fetch, stack) for one in prefects],
        )  # fmt: skip

    @property
    def sources(self) -> Sequence[Source]:
        return (*self.airflows.values(), *self.prefects.values())
