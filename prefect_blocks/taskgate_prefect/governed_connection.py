"""What both governed connectors have in common: their fields, and who is asked for credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, Field, field_validator

from taskgate.client import Approval
from taskgate_prefect import compat, connection_arguments
from taskgate_prefect.approvals.asking import ApprovalWait, Asking
from taskgate_prefect.approvals.prefect_calls import Log
from taskgate_prefect.approvals.refused import fingerprint
from taskgate_prefect.credentials import AttemptCredential, in_this_process
from taskgate_prefect.engines import GovernedEngine
from taskgate_prefect.gateway import TaskgateGateway
from taskgate_prefect.opened_session import session_id
from taskgate_prefect.run_attempt import attempt_of, current_run


class GovernedConnection(BaseModel):
    """Fields of a connector that goes through the gateway. None of them says where the database is or holds a
    password: the gateway knows both, and gives each run attempt a credential of its own."""

    gateway: TaskgateGateway = Field(
        default_factory=TaskgateGateway,
        title="Gateway",
        description="Where Taskgate is. Leave it empty in runs that Taskgate's worker starts.",
    )
    target: str = Field(
        default=...,
        title="Target",
        description="Name of the database in the gateway's settings.",
        examples=["orders-db"],
        min_length=1,
    )
    connect_args: dict[str, Any] | None = Field(
        default=None,
        title="Additional Connection Arguments",
        description=(
            "Passed to the driver's connect(): timeouts, TLS. Where to connect and as whom says the gateway, so these "
            "are refused here."
        ),
    )
    fetch_size: int = Field(
        default=1, title="Fetch Size", description="The number of rows that fetch_many returns by default."
    )
    approval_wait: ApprovalWait = Field(
        default="automatic",
        title="While a Human Is Asked",
        description=(
            "What happens when a statement needs a human: automatic (the flow run is suspended where it has a "
            "deployment, keeps its results and has executed nothing that would be repeated, else paused), pause (the "
            "process always waits), hold (the connection waits as long as the rule lets it, then as raise), or raise "
            "(ApprovalPending at once)."
        ),
    )
    approval_timeout: float | None = Field(
        default=None,
        title="Approval Timeout",
        description=(
            "Seconds after which the flow run no longer waits for a human and fails. Without it, when the request "
            "expires as the rule says."
        ),
        gt=0,
    )

    @field_validator("connect_args")
    @classmethod
    def _ours_to_say(cls, connect_args: dict[str, Any] | None) -> dict[str, Any] | None:
        connection_arguments.check(connect_args or {})
        return connect_args

    def governed_engine(self, running: compat.RunningFlow, log: Log, *, wait: str | None = None) -> GovernedEngine:
        """How connections of this attempt are made; `wait` in place of what the block says."""

        def opened(connection: Any, credential: AttemptCredential) -> None:
            principal = credential.issued.principal
            session = session_id(connection) or "a session"
            log.info("Taskgate: %s on %s, as %s (%s)", session, self.target, principal.label, principal.assurance.value)

        return GovernedEngine(
            access=self.gateway.access(),
            target=self.target,
            attempt=attempt_of(running),
            driver=self.driver_name(),
            wait=wait or ("hold" if self.approval_wait == "hold" else "refuse"),
            connect_args=self.connect_args or {},
            opened=opened,
        )

    def driver_name(self) -> str:
        """SQLAlchemy's name of it."""
        raise NotImplementedError

    def asking(self, log: Log, *what: Any, repeatable: bool = False) -> Asking:
        """How the code that calls this waits for a human. `what` it is about to execute."""
        return Asking(
            running=current_run(),
            log=log,
            wait=self.approval_wait,
            limit=self.approval_timeout,
            asked_for=fingerprint(self.target, *what) if what else None,
            repeatable=repeatable,
        )

    def look(self, running: compat.RunningFlow) -> Callable[[str], Approval]:
        """Asks the gateway about an approval, as the attempt."""
        access, attempt = self.gateway.access(), attempt_of(running)

        def look(approval_id: str) -> Approval:
            credential = in_this_process.current(access, self.target, attempt)
            return in_this_process.approval(credential, approval_id)

        return look

    def alook(self, running: compat.RunningFlow) -> Callable[[str], Awaitable[Approval]]:
        """As `look`."""
        access, attempt = self.gateway.access(), attempt_of(running)

        async def look(approval_id: str) -> Approval:
            credential = await in_this_process.acurrent(access, self.target, attempt)
            return await in_this_process.aapproval(credential, approval_id)

        return look
