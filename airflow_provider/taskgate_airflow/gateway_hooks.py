"""Which hooks of this task's process went through the gateway, and with which credential.

Stock hooks tell nobody. Two places know them: Airflow's hook lineage (every statement that ran names its hook) and the
frames of an error (a statement that was refused ran in one of the hook's methods).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from taskgate_airflow.compat import hook_lineage_collector

_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class DataPathCredential:
    """What a task connects with. It opens the control API's view of its own attempt, and nothing else there."""

    user: str
    password: str = field(repr=False)

    def bearer(self) -> str:
        return f"{self.user}.{self.password}"


def data_path_credentials(error: BaseException | None) -> list[DataPathCredential]:
    """Each once, in the order they were met. Empty for a task that did not go through the gateway."""
    found: dict[str, DataPathCredential] = {}
    for hook in (*_hooks_of_lineage(), *_hooks_of_error(error)):
        # `_connection` is what DbApiHook keeps; asking for `connection` could fetch one, or raise.
        connection = getattr(hook, "_connection", None)
        login, password = getattr(connection, "login", None), getattr(connection, "password", None)
        if isinstance(login, str) and login.startswith("tg_") and password:
            found.setdefault(login, DataPathCredential(login, password))
    return list(found.values())


def _hooks_of_lineage() -> Iterator[Any]:
    if (collector := hook_lineage_collector()) is None:
        return
    for entry in collector.collected_assets.extra:
        yield entry.context


def _hooks_of_error(error: BaseException | None) -> Iterator[Any]:
    one = error
    for _ in range(_DEEPEST):
        if one is None:
            return
        step = one.__traceback__
        while step is not None:
            if (owner := step.tb_frame.f_locals.get("self")) is not None:
                yield owner
            step = step.tb_next
        one = one.__cause__ or one.__context__
