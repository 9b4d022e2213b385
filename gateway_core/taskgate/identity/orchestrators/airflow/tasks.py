"""Task attempts of Airflows: who they are, and for how long they are it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from taskgate.domain import Assurance, Attempt, Principal, TaskKey
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.airflow.instances import DEFERRED, RUNNING, TaskInstance, in_state, over
from taskgate.identity.orchestrators.airflow.source import AirflowSource
from taskgate.identity.orchestrators.endings import Endings
from taskgate.identity.orchestrators.faults import NotProven, id_taken
from taskgate.identity.orchestrators.proven import ProvenTask
from taskgate.store.attempts import Attempts, KnownAttempt


class AirflowTasks:
    """Of every Airflow that the gateway knows, `sources` by name."""

    def __init__(
        self, sources: Mapping[str, AirflowSource], attempts: Attempts, credentials: Credentials, endings: Endings
    ) -> None:
        self._sources = sources
        self._attempts = attempts
        self._credentials = credentials
        self._endings = endings

    def knows(self, source: str) -> bool:
        return source in self._sources

    async def exchange(self, token: str, task: TaskKey, target: str) -> ProvenTask:
        """The attempt that the token proves, which has to stand at `task` and to be running: `verified`, or `asserted`
        where the token is signed with a key that others hold too. Raises NotProven, OrchestratorAway."""
        source = self._source(task.source)
        proven = await source.proven(token)
        instance = await source.instance(task)
        attempt = await self._attempts.get(proven.id)
        if attempt is not None and attempt.task == task:
            ended = over(attempt.id, attempt.generation, instance)
            if ended is not None:
                await self._endings.end(attempt, ended, told=False)
                return await self._after_the_end(attempt, target, ended.because)
        instance = in_state(instance, proven.id, RUNNING)
        assurance = Assurance.ASSERTED if proven.symmetric else Assurance.VERIFIED
        how = "its token (symmetric key)" if proven.symmetric else "its token"
        return ProvenTask(await self._seen(source, instance, assurance, f"airflow:{task.source}, by {how}"))

    async def delegate(self, attempt_id: str, task: TaskKey, target: str, by: str) -> ProvenTask:
        """The attempt, which has to be deferred and to have held a verified credential for the target. `by`: the
        triggerer's key. Raises NotProven, OrchestratorAway."""
        source = self._source(task.source)
        instance = in_state(await source.instance(task), attempt_id, DEFERRED)
        held = await self._credentials.held(attempt_id, target)
        if held is None or held.principal.task != task:
            raise NotProven(
                "nothing_held",
                f"the task's worker has held no verified credential for target {target}, so its trigger gets none",
                hint="The task itself has to use the connection before it defers.",
            )
        await self._begun(instance)
        principal = replace(held.principal, assurance=Assurance.DELEGATED, verified_by=by)
        return ProvenTask(principal)

    async def asserted(self, attempt_id: str, task: TaskKey, by: str) -> ProvenTask:
        """An attempt that a service key vouches for: it has to be running, and what Airflow says of it counts. Raises
        NotProven, OrchestratorAway."""
        source = self._source(task.source)
        instance = in_state(await source.instance(task), attempt_id, RUNNING)
        return ProvenTask(await self._seen(source, instance, Assurance.ASSERTED, by))

    async def posted(self, source: str, attempt_ids: Sequence[str]) -> int:
        """Their tasks have told Airflow something: how they ended, perhaps. Returns how many are known. Raises
        OrchestratorAway, StoreFault."""
        known = [
            attempt
            for attempt_id in dict.fromkeys(attempt_ids)
            if (attempt := await self._attempts.get(attempt_id)) is not None and attempt.task.source == source
        ]
        if known:
            looked = await self._source(source).look(attempt.task for attempt in known)
            for attempt in known:
                ended = over(attempt.id, attempt.generation, looked.found.get(attempt.task))
                if ended is not None and attempt.task not in looked.unanswered:
                    await self._endings.end(attempt, ended, told=True)
        return len(known)

    async def _after_the_end(self, attempt: KnownAttempt, target: str, because: str) -> ProvenTask:
        held = await self._credentials.confined(attempt.id, target)
        if held is None:
            raise NotProven("instance_not_running", f"the attempt is over: {because}")
        return ProvenTask(held.principal, held.confined_until)

    async def _seen(
        self, source: AirflowSource, instance: TaskInstance, assurance: Assurance, verified_by: str
    ) -> Principal:
        principal = await source.principal(instance, assurance, verified_by)
        await self._end_earlier(instance)
        await self._begun(instance)
        return principal

    async def _end_earlier(self, instance: TaskInstance) -> None:
        """What the attempt before has asked for is withdrawn, where the task was cleared, before this one asks: found
        later it could not be told from what this one wants."""
        before = await self._attempts.latest(f"task:{instance.task}")
        if before is None or not before.alive or before.id == instance.id:
            return
        if (ended := over(before.id, before.generation, instance)) is not None:
            await self._endings.end(before, ended, told=False)

    async def _begun(self, instance: TaskInstance) -> None:
        """Before anything is issued: whatever is, is looked after."""
        check_in = self._source(instance.task.source).settings.check_interval
        attempt = Attempt(instance.id, instance.task, instance.try_number)
        if not await self._attempts.seen(attempt, generation=instance.max_tries, check_in=check_in):
            raise id_taken(attempt.id)

    def _source(self, name: str) -> AirflowSource:
        source = self._sources.get(name)
        if source is None:
            raise NotProven("unknown_source", f"no Airflow named {name} is configured")
        return source
