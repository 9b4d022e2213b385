"""Airflow's human-in-the-loop rows, as far as the gateway reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskgate.domain import TaskKey
from taskgate.identity.orchestrators.airflow.account import AirflowAccount
from taskgate.identity.orchestrators.airflow.paths import instance_path


@dataclass(frozen=True, slots=True)
class HumanInput:
    """A row. `answered_by`: the Airflow user who did, by id and name; None where nobody did, or where it was no user
    (a trigger can write an answer too)."""

    subject: str
    body: str
    options: tuple[str, ...]
    plain: bool  # one option to choose, no default, no parameters: as the gateway's own pages are
    answered: bool
    chosen: tuple[str, ...]
    answered_by: tuple[str, str] | None


class HumanInputs:
    """The rows of one Airflow."""

    def __init__(self, account: AirflowAccount) -> None:
        self._account = account

    async def of(self, task: TaskKey) -> HumanInput | None:
        """The row of the instance that stands there now. Raises OrchestratorAway."""
        found = await self._account.get(_path(task))
        return None if found is None else _row(found)

    async def answer(self, task: TaskKey, option: str) -> bool:
        """Answer with the gateway's own account. False where there is nothing to answer, or somebody was first. Raises
        OrchestratorAway."""
        return await self._account.patch(_path(task), {"chosen_options": [option], "params_input": {}})


def _path(task: TaskKey) -> str:
    return f"{instance_path(task)}/hitlDetails"


def _row(found: Mapping[str, Any]) -> HumanInput:
    user = found.get("responded_by_user") or {}
    who = (str(user["id"]), str(user.get("name") or "")) if isinstance(user, dict) and user.get("id") else None
    return HumanInput(
        subject=str(found.get("subject") or ""),
        body=str(found.get("body") or ""),
        options=tuple(map(str, found.get("options") or ())),
        plain=not found.get("multiple") and not found.get("defaults") and not found.get("params"),
        answered=bool(found.get("response_received")),
        chosen=tuple(map(str, found.get("chosen_options") or ())),
        answered_by=who,
    )
