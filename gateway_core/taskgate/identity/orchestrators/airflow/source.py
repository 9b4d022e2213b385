"""One Airflow as the gateway knows it: what its tasks can prove, and what stands where they were started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog

from taskgate.domain import Assurance, Attempt, Principal, PrincipalKind, TaskKey
from taskgate.identity.orchestrators.airflow.account import AirflowAccount
from taskgate.identity.orchestrators.airflow.instances import FINAL, TaskInstance, over
from taskgate.identity.orchestrators.airflow.rest import AirflowRest
from taskgate.identity.orchestrators.airflow.signing_keys import (
    KeySetFile,
    PublicKeyFile,
    RemoteKeySet,
    SharedSecret,
    SigningKeys,
)
from taskgate.identity.orchestrators.airflow.task_token import ProvenInstance, TaskTokens
from taskgate.identity.orchestrators.faults import AnswerTooLarge, OrchestratorAway
from taskgate.identity.orchestrators.fetching import Fetch
from taskgate.identity.orchestrators.over import Over
from taskgate.identity.orchestrators.trust import trusting
from taskgate.settings_airflow import AirflowSettings
from taskgate.store.attempts import KnownAttempt

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_ONE_BY_ONE = 16  # more than so many are found in the list of all that live


@dataclass(frozen=True, slots=True)
class Looked:
    """What Airflow says of some tasks. What is neither found nor `unanswered` is not there, or says so much of itself
    that nobody reads it: nothing vouches for it either."""

    found: Mapping[TaskKey, TaskInstance]
    unanswered: frozenset[TaskKey]


class AirflowSource:
    """`settings.source` is the name that policy knows it by."""

    def __init__(self, settings: AirflowSettings, tokens: TaskTokens, rest: AirflowRest, account: AirflowAccount):
        self.settings = settings
        self.account = account
        self._tokens = tokens
        self._rest = rest
        self._free = asyncio.Semaphore(_AT_ONCE)

    @property
    def name(self) -> str:
        return self.settings.source

    @property
    def check_interval(self) -> float:
        return self.settings.check_interval

    @property
    def lost_after(self) -> float:
        return self.settings.lost_after

    @classmethod
    async def open(cls, settings: AirflowSettings, fetch: Fetch, stack: AsyncExitStack) -> AirflowSource:
        """`stack` closes its connections. Raises SettingsError, GatewayFault where a secret cannot be fetched; an
        Airflow that is away is no fault yet."""
        verify = trusting(settings.source, settings.ca_file)
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=settings.timeout, verify=verify, follow_redirects=False, trust_env=False)
        )
        keys: SigningKeys
        if settings.symmetric_key is not None:
            keys = SharedSecret(await fetch(settings.symmetric_key))
        elif settings.public_key is not None:
            keys = PublicKeyFile(settings.public_key)
        elif settings.jwks is not None and settings.jwks_is_remote:
            keys = RemoteKeySet(settings.jwks, client)
        else:
            keys = KeySetFile(Path(settings.jwks or ""))
        tokens = TaskTokens(keys, audience=settings.audience, issuer=settings.issuer)
        account = AirflowAccount(settings, fetch, client)
        return cls(settings, tokens, AirflowRest(settings.source, account), account)

    async def proven(self, token: str) -> ProvenInstance:
        """Raises NotProven, OrchestratorAway."""
        return await self._tokens.verify(token)

    async def instance(self, task: TaskKey) -> TaskInstance | None:
        """What stands there now. Raises OrchestratorAway."""
        async with self._free:
            return await self._rest.instance(task)

    async def look(self, tasks: Iterable[TaskKey]) -> Looked:
        """What stands at each. Raises OrchestratorAway where Airflow answers nothing at all; where it answers for some
        of them only (a DAG that the gateway's account may not see any more), the others are `unanswered`."""
        wanted = set(tasks)
        found: dict[TaskKey, TaskInstance] = {}
        if len(wanted) > _ONE_BY_ONE:
            with contextlib.suppress(OrchestratorAway):  # of a list for everybody one instance may be the fault
                async for instance in self._rest.alive():
                    if instance.task in wanted:
                        found[instance.task] = instance
        unanswered: dict[TaskKey, OrchestratorAway] = {}
        others = [task for task in wanted if task not in found]
        for start in range(0, len(others), _AT_ONCE):
            some = others[start : start + _AT_ONCE]
            answers = await asyncio.gather(*map(self.instance, some), return_exceptions=True)
            for task, answer in zip(some, answers, strict=True):
                if isinstance(answer, AnswerTooLarge):
                    log.warning("orchestrator.instance_unreadable", task=str(task), reason=answer.message)
                elif isinstance(answer, OrchestratorAway):
                    unanswered[task] = answer
                elif isinstance(answer, BaseException):
                    raise answer
                elif answer is not None:
                    found[task] = answer
            if not found and len(unanswered) == start + len(some):
                raise next(iter(unanswered.values()))  # it is away: the others need not be tried
        return Looked(found, frozenset(unanswered))

    async def overs(self, attempts: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        """See `Source`."""
        looked = await self.look(attempt.task for attempt in attempts)
        return {
            attempt.id: over(attempt.id, attempt.generation, looked.found.get(attempt.task))
            for attempt in attempts
            if attempt.task not in looked.unanswered
        }

    async def gone(self, waiting: Mapping[TaskKey, KnownAttempt | None]) -> Mapping[TaskKey, str]:
        """See `Source`."""
        looked = await self.look(waiting)
        gone = {}
        for task, latest in waiting.items():
            instance = looked.found.get(task)
            if task in looked.unanswered:
                continue
            if instance is None:
                gone[task] = "Airflow knows of no such task instance"
            elif instance.state in FINAL:
                gone[task] = f"the task instance is {instance.state}"
            elif latest is not None and latest.generation != instance.max_tries:
                gone[task] = "the task was cleared"
        return gone

    async def principal(self, instance: TaskInstance, assurance: Assurance, verified_by: str) -> Principal:
        """The instance's attempt with everything that Airflow says of it. Raises OrchestratorAway."""
        async with self._free:
            facts, logical_date = await self._rest.run_facts(instance.task)
        task = instance.task
        return Principal(
            kind=PrincipalKind.TASK,
            name=task.name,
            source=self.settings.source,
            assurance=assurance,
            verified_by=verified_by,
            attributes={**instance.attributes, **facts},
            attempt=Attempt(instance.id, task, instance.try_number, logical_date),
        )
