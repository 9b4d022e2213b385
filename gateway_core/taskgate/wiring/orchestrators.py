"""The orchestrators that the gateway knows, and the tasks that look after their attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial

from taskgate.approvals.airflow_answers import AirflowAnswers
from taskgate.approvals.prefect_resumes import PrefectResumes
from taskgate.approvals.requests import ApprovalFilter, Approvals
from taskgate.domain import ApprovalState, TaskKey
from taskgate.identity.orchestrators.airflow.human_input import HumanInputs
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.orchestrators.prefect.reconciling_registrations import ReconcilingRegistrations
from taskgate.identity.orchestrators.reconciling import Reconciling
from taskgate.secrets import SecretSources
from taskgate.settings import Settings
from taskgate.store.signals import Signals
from taskgate.wiring.background import Background
from taskgate.wiring.store import StoreSide


class TaskRequests:
    """Approvals as `identity.orchestrators` sees them."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    async def pending_tasks(self, source: str) -> AsyncIterator[tuple[TaskKey, str]]:
        """Every task of this source that waits for an answer, with what owns its request."""
        filters, cursor = ApprovalFilter(state=ApprovalState.PENDING, source=source), None
        while True:
            page = await self._approvals.search(filters, cursor, 100)
            for approval in page.items:
                if approval.principal.task is not None:
                    yield approval.principal.task, approval.owner_key
            if (cursor := page.next_cursor) is None:
                return

    async def withdraw_all(self, owner_key: str, reason: str) -> int:
        return await self._approvals.withdraw_all(owner_key, reason)


class OrchestratorSide:
    """`open` once, then `start`, in the end `close`. `answers`: by source, of Airflows."""

    def __init__(
        self,
        orchestrators: Orchestrators,
        answers: Mapping[str, AirflowAnswers],
        resumes: Mapping[str, PrefectResumes],
        requests: TaskRequests,
        stack: AsyncExitStack,
    ) -> None:
        self.orchestrators = orchestrators
        self.answers = answers
        self._resumes = resumes
        self._requests = requests
        self._stack = stack

    @classmethod
    async def open(
        cls, settings: Settings, store: StoreSide, secrets: SecretSources, approvals: Approvals
    ) -> OrchestratorSide:
        """Raises GatewayFault where a secret that is needed at once cannot be fetched."""
        stack = AsyncExitStack()
        requests = TaskRequests(approvals)
        try:
            orchestrators = await Orchestrators.open(
                settings.airflow, settings.prefect, secrets.fetch, stack,
                attempts=store.attempts, credentials=store.credentials, requests=requests,
                registered=store.registered_runs,
            )  # fmt: skip
        except BaseException:
            await stack.aclose()
            raise
        answers = {
            name: AirflowAnswers(
                name, HumanInputs(source.account), source.settings.people,
                approvals=approvals, api_keys=store.api_keys, url=settings.approval_url,
            )
            for name, source in orchestrators.airflows.items()
        }  # fmt: skip
        resumes = {
            name: PrefectResumes(name, source.rest, approvals)
            for name, source in orchestrators.prefects.items()
            if source.settings.resume
        }
        return cls(orchestrators, answers, resumes, requests, stack)

    def start(self, background: Background, signals: Signals) -> None:
        """Each is about one orchestrator: what that makes of it is no matter of the others."""
        attempts, endings = self.orchestrators.attempts, self.orchestrators.endings
        for source in self.orchestrators.sources:
            looking = Reconciling(source, attempts, endings, self._requests)
            background.spawn_again(f"attempts of {source.name}", looking.run)
        for name, prefect in self.orchestrators.prefects.items():
            registrations = ReconcilingRegistrations(prefect, self.orchestrators.registered)
            background.spawn_again(f"registered runs of {name}", registrations.run)
        for name, answers in self.answers.items():
            background.spawn_again(f"answers of {name}", partial(answers.run, signals))
        for name, resumes in self._resumes.items():
            background.spawn_again(f"waiting runs of {name}", partial(resumes.run, signals))

    async def close(self) -> None:
        await self._stack.aclose()
