"""What a task may know about itself."""

from __future__ import annotations

from pydantic import Field

from taskgate.client.models.approvals import Approval
from taskgate.client.models.base import Answer
from taskgate.client.models.principals import Principal
from taskgate.client.models.sessions import Session


class AirflowPage(Answer):
    """What a human-in-the-loop row in Airflow has to hold, to the letter, for an answer there to count. `body` is
    Markdown."""

    subject: str
    body: str
    options: list[str]


class AttemptReport(Answer):
    """The attempt that asks: its sessions, and the approvals asked for in its task's name by any of its tries (of a
    Prefect flow run: in the run's). `answers_key` is equal for two tasks that are shown the same: it differs where the
    policy does, or anything that it may look at in a task."""

    principal: Principal
    answers_key: str = ""
    sessions: list[Session] = Field(default_factory=list)
    approvals: list[Approval] = Field(default_factory=list)
