"""The two forms in which the demo's Airflow is known to the gateway: who holds a key, and how sure a task is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskgate.demo.airflow_place import AirflowPlace
from taskgate.domain import Assurance
from taskgate.identity.scopes import Scope

SOURCE = "demo-airflow"


@dataclass(frozen=True, slots=True)
class ServiceKey:
    name: str
    scopes: Sequence[Scope]
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """`meaning` says in a line what `assurance` rests on. `policy` and `settings` are the gateway's (a path below
    `examples/airflow`), `keys` are Airflow's by the demo's name for them, `connections` how many it opens to the demo's
    PostgreSQL for itself."""

    assurance: Assurance
    meaning: str
    policy: Path
    keys: Mapping[str, ServiceKey]
    settings: Mapping[str, Any] = field(default_factory=dict)
    connections: int = 0


def worker_form() -> Form:
    scopes = [Scope.CREDENTIALS_ISSUE, Scope.CREDENTIALS_REVOKE, Scope.APPROVALS_READ, Scope.APPROVALS_WATCH]
    return Form(
        Assurance.ASSERTED,
        "Airflow's worker says which task it runs, and vouches with its key",
        Path("policy.yaml"),
        {"airflow": ServiceKey(SOURCE, scopes)},
    )


def server_form(place: AirflowPlace) -> Form:
    """For the Airflow that will be at `place`."""
    bound = [f"source:{SOURCE}"]
    return Form(
        Assurance.VERIFIED,
        "each task is proven by its own token from Airflow, and workers hold no key",
        Path("verified", "policy.yaml"),
        {
            "airflow-api-server": ServiceKey("demo-airflow-api-server", [Scope.CREDENTIALS_EXCHANGE], bound),
            "airflow-triggerer": ServiceKey(
                "demo-airflow-triggerer", [Scope.CREDENTIALS_DELEGATE, Scope.APPROVALS_WATCH], bound
            ),
        },
        {"airflow": [place.known_as(SOURCE)]},
        connections=100,
    )
