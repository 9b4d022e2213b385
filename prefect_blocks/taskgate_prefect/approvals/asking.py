"""Execute, wait for a human where one has to be asked, execute again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from taskgate.client import Approval
from taskgate.postgres_refusals import ApprovalPending, approval_id, refusal_text, refusals_in
from taskgate_prefect import compat
from taskgate_prefect.approvals import progress
from taskgate_prefect.approvals.carrying_out import acarry_out, carry_out
from taskgate_prefect.approvals.prefect_calls import Log
from taskgate_prefect.approvals.rounds import Rounds
from taskgate_prefect.approvals.waiting import Manner, until_approved
from taskgate_prefect.run_attempt import attempt_of

ApprovalWait = Literal["automatic", "pause", "hold", "raise"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Asking:
    """How one piece of code waits. `look` asks the gateway about an approval. `repeatable`: the code runs again
    from its own beginning, whatever it has executed."""

    running: compat.RunningFlow
    log: Log
    wait: ApprovalWait
    limit: float | None = None
    repeatable: bool = False

    def execute(self, run: Callable[[], Result], look: Callable[[str], Approval]) -> Result:
        """What `run` returns or raises, once nobody has to be asked any more. Raises ApprovalPending where it is not
        waited for, ApprovalRefused, ApprovalLoop."""
        rounds = Rounds()
        while True:
            try:
                return run()
            except Exception as error:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
                pending = self._pending(error)
            rounds.asked(pending, self.log)
            rounds.approved(self.wait_for(pending.approvals, look), self.log)

    async def aexecute(
        self, run: Callable[[], Awaitable[Result]], look: Callable[[str], Awaitable[Approval]]
    ) -> Result:
        """As `execute`."""
        rounds = Rounds()
        while True:
            try:
                return await run()
            except Exception as error:  # noqa: BLE001  drivers raise what they like; what is not for us is raised again
                pending = self._pending(error)
            rounds.asked(pending, self.log)
            rounds.approved(await self.await_for(pending.approvals, look), self.log)

    def up_front(self, pending: ApprovalPending, look: Callable[[str], Approval]) -> Approval:
        """Waits for what was asked for before anything is executed. Raises as `execute`."""
        if self.wait == "raise":
            raise pending
        return self.wait_for(pending.approvals, look)[0]

    async def aup_front(self, pending: ApprovalPending, look: Callable[[str], Awaitable[Approval]]) -> Approval:
        """As `up_front`."""
        if self.wait == "raise":
            raise pending
        return (await self.await_for(pending.approvals, look))[0]

    def wait_for(self, approvals: tuple[str, ...], look: Callable[[str], Approval]) -> tuple[Approval, ...]:
        """Returns them once all are given. Raises ApprovalRefused; ends the process where the run is suspended."""
        manner, flow_run_id = self._manner(), self.running.flow_run_id
        here = int(manner is Manner.PAUSE)
        progress.in_this_process.waits_here(flow_run_id, here)
        try:
            return carry_out(until_approved(approvals, manner, self.limit), flow_run_id, look, self.log)
        finally:
            progress.in_this_process.waits_here(flow_run_id, -here)

    async def await_for(
        self, approvals: tuple[str, ...], look: Callable[[str], Awaitable[Approval]]
    ) -> tuple[Approval, ...]:
        """As `wait_for`."""
        manner, flow_run_id = self._manner(), self.running.flow_run_id
        here = int(manner is Manner.PAUSE)
        progress.in_this_process.waits_here(flow_run_id, here)
        try:
            return await acarry_out(until_approved(approvals, manner, self.limit), flow_run_id, look, self.log)
        finally:
            progress.in_this_process.waits_here(flow_run_id, -here)

    def _manner(self) -> Manner:
        if self.wait == "pause":
            return Manner.PAUSE
        manner, why = progress.in_this_process.manner(self.running, repeatable=self.repeatable)
        if why:
            self.log.info("The flow run is not suspended, so this process waits: %s", why)
        return manner

    def _pending(self, error: Exception) -> ApprovalPending:
        """The error as one to wait for. Raises what is to be raised instead."""
        pending = as_pending(error)
        if pending is None:
            refusals = refusals_in(error)
            for refusal in refusals:
                facts = ", ".join(f"{name} {value}" for name, value in refusal.facts.items())
                self.log.warning("Refused by the gateway: %s (%s)", refusal.text, facts)
            if not refusals:  # what an error leaves behind is not known: it may have been the commit's
                progress.in_this_process.executed(attempt_of(self.running))
            raise error
        if self.wait in ("hold", "raise"):
            raise pending from error
        return pending


def as_pending(error: BaseException) -> ApprovalPending | None:
    """A driver's error that waits for a human, as ApprovalPending; None for any other."""
    if isinstance(error, ApprovalPending):
        return error
    approval = approval_id(error)
    return None if approval is None else ApprovalPending((approval,), refusal_text(error))
