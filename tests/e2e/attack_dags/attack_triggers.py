"""A trigger that talks SQL: what a deferrable operator of a user's own would bring along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from attack_record import attempt


class SelectTrigger(BaseTrigger):
    """Run `sql` through the stock hook in the triggerer, for so many seconds; the last outcome resumes."""

    def __init__(self, conn_id: str, sql: str, name: str, seconds: float) -> None:
        super().__init__()
        self.conn_id, self.sql, self.name, self.seconds = conn_id, sql, name, seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "attack_triggers.SelectTrigger", {
            "conn_id": self.conn_id, "sql": self.sql, "name": self.name, "seconds": self.seconds,
        }  # fmt: skip

    def _select(self) -> list[Any]:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        hook = PostgresHook(self.conn_id)
        return [hook.connection.login, *hook.get_first(self.sql)]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        until = asyncio.get_running_loop().time() + self.seconds
        while True:
            found = await asyncio.to_thread(attempt, self.name, "trigger", self._select)
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(0.5)
        yield TriggerEvent({"found": found})
