"""How often something is executed again after a human approved, and what that says."""

from __future__ import annotations

from taskgate.client import Approval
from taskgate.postgres_refusals import ApprovalPending
from taskgate_prefect.approvals.prefect_calls import Log
from taskgate_prefect.faults import ApprovalLoop

_MOST = 5


class Rounds:
    """One a call. What runs again must be what was approved, to the byte: what differs each time (`now()` in its
    parameters) asks again each time, and ends after five rounds."""

    def __init__(self) -> None:
        self._round = 0
        self._given: tuple[str, ...] = ()

    def asked(self, pending: ApprovalPending, log: Log) -> None:
        """What ran was refused. Raises ApprovalLoop where waiting leads nowhere."""
        self._round += 1
        again = sorted(set(pending.approvals) & set(self._given))
        if again:
            raise ApprovalLoop(f"Approved, and still refused ({', '.join(again)}): {pending}")
        if self._round > _MOST:
            raise ApprovalLoop(
                f"Asked for approval {_MOST} times, and what runs differs from what was approved each time.",
                hint="Do the SQL or its parameters change with every execution?",
            )
        if self._given:
            log.info(
                "Approved so far: %s. This asks for more: another statement, or the SQL, its parameters or the policy "
                "have changed since", ", ".join(self._given),
            )  # fmt: skip
        log.info("A human has to approve: %s\n%s", ", ".join(pending.approvals), pending)

    def approved(self, given: tuple[Approval, ...], log: Log) -> None:
        self._given += tuple(one.id for one in given)
        by = ", ".join(dict.fromkeys(one.decided_by for one in given if one.decided_by))
        log.info("Approved%s; executing again", f" by {by}" if by else "")
