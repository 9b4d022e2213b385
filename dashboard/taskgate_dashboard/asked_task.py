"""The task that a link asks for: task instances and artifacts link here with their key in the query.

    /sessions?source=prod-airflow&dag_id=etl&run_id=run-1&task_id=clean&map_index=-1&try_number=2

Where something asks for a task, the page shows that task's and says so; one click drops it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from taskgate.client import SessionFilter
from taskgate.client.models import Principal
from taskgate_dashboard import style

_TEXTS = ("source", "dag_id", "run_id", "task_id")
_NUMBERS = ("map_index", "try_number")


@dataclass(frozen=True, slots=True)
class AskedTask:
    """What the query names; None: not named. `map_index` -1 is a task that is not mapped."""

    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None

    @classmethod
    def from_query(cls) -> AskedTask | None:
        """None where the query names no task. A number that is none is not asked for."""
        query = st.query_params
        texts = {name: query[name] for name in _TEXTS if query.get(name)}
        if not texts:
            return None
        return cls(**texts, map_index=_number(query.get("map_index")), try_number=_number(query.get("try_number")))

    def sessions(self, chosen: SessionFilter) -> SessionFilter:
        """`chosen`, of this task only. Tries are not the gateway's to filter: see `matches`."""
        return replace(
            chosen,
            source=self.source,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
        )

    def matches(self, principal: Principal) -> bool:
        attempt = principal.attempt
        if attempt is None:
            return False
        wanted = [(self.try_number, attempt.try_number), (self.map_index, attempt.task.map_index)]
        wanted += [(getattr(self, name), getattr(attempt.task, name)) for name in _TEXTS]
        return all(asked is None or asked == found for asked, found in wanted)

    def show(self) -> None:
        """The line that says what is filtered, and the way to drop it."""
        named = [("source", self.source), ("DAG or flow", self.dag_id), ("run", self.run_id), ("task", self.task_id)]
        if self.map_index is not None and self.map_index >= 0:
            named.append(("map index", str(self.map_index)))
        if self.try_number is not None:
            named.append(("try", str(self.try_number)))
        with st.container(horizontal=True, vertical_alignment="center"):
            style.show(
                '<span class="tg-note">Only of &nbsp;</span>',
                style.chips((f"{name} {value}" for name, value in named if value is not None), "blue"),
            )
            st.button("Show all", key="drop-task", icon=":material/filter_alt_off:", on_click=_drop, type="tertiary")


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _drop() -> None:
    for name in (*_TEXTS, *_NUMBERS):
        st.query_params.pop(name, None)
