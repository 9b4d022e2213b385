"""The forms in which the demo's Airflow or Prefect is known to the gateway: who holds a key, and how sure a task is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskgate.demo.airflow_place import AirflowPlace
from taskgate.demo.example import AIRFLOW, PREFECT, Example
from taskgate.domain import Assurance
from taskgate.identity.scopes import Scope

SOURCE = AIRFLOW.source
PREFECT_POOL = "governed"


@dataclass(frozen=True, slots=True)
class ServiceKey:
    name: str
    scopes: Sequence[Scope]
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """As what the gateway knows tasks, and by what: `verified_by`, and the attributes (with what they are called) that
    the orchestrator was asked for. `promise` is the demo's, of each task; `keys` says whose keys are counted."""

    promise: str
    verified_by: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    keys: str = ""


@dataclass(frozen=True, slots=True)
class LastReads:
    """What is left to an attempt after its end, in words, and within how many seconds the gateway notices an end."""

    promise: str
    over: str
    wait: str
    noticed_within: float = 0.0


@dataclass(frozen=True, slots=True)
class Form:
    """`meaning` says in a line what `assurance` rests on. `policy` and `settings` are the gateway's (a path below the
    example's folder), `keys` are the orchestrator's by the demo's name for them, `connections` how many it opens to the
    demo's PostgreSQL for itself. `last_reads` None: nobody tells the gateway of ends."""

    example: Example
    assurance: Assurance
    meaning: str
    policy: Path
    keys: Mapping[str, ServiceKey]
    known: Known
    last_reads: LastReads | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    connections: int = 0


def worker_form() -> Form:
    scopes = [Scope.CREDENTIALS_ISSUE, Scope.CREDENTIALS_REVOKE, Scope.APPROVALS_READ, Scope.APPROVALS_WATCH]
    return Form(
        AIRFLOW,
        Assurance.ASSERTED,
        "Airflow's worker says which task it runs, and vouches with its key",
        Path("policy.yaml"),
        {"airflow": ServiceKey(SOURCE, scopes)},
        Known("every task is known as asserted: this Airflow vouches for it with its own key"),
    )


def server_form(place: AirflowPlace) -> Form:
    """For the Airflow that will be at `place`."""
    bound = [f"source:{SOURCE}"]
    return Form(
        AIRFLOW,
        Assurance.VERIFIED,
        "each task is proven by its own token from Airflow, and workers hold no key",
        Path("verified", "policy.yaml"),
        {
            "airflow-api-server": ServiceKey("demo-airflow-api-server", [Scope.CREDENTIALS_EXCHANGE], bound),
            "airflow-triggerer": ServiceKey(
                "demo-airflow-triggerer", [Scope.CREDENTIALS_DELEGATE, Scope.APPROVALS_WATCH], bound
            ),
        },
        Known(
            "every task is verified by its own token, under rules content with nothing less; no worker holds a key",
            f"airflow:{SOURCE}, by its token",
            {"bundle": "bundle", "dag_version": "DAG version", "triggering_user": "started by"},
            "keys where workers run",
        ),
        LastReads(
            "what an attempt was given dies with it: it writes no more, and reads for no more than its callbacks' "
            "minute",
            "the attempts are over: what they held may read for one more minute, for callbacks.",
            "Waiting for that minute to pass, to see that all of it is dead then.",
        ),
        {"airflow": [place.known_as(SOURCE)]},
        connections=100,
    )


def prefect_form(url: str) -> Form:
    """The worker form, for the Prefect whose API will be at `url`."""
    bound = [f"source:{PREFECT.source}", f"work-pool:{PREFECT_POOL}"]
    return Form(
        PREFECT,
        Assurance.VERIFIED,
        "each flow run is made known by the worker that starts it, and holds no key; which task asks is its own word",
        Path("policy.yaml"),
        {"prefect-worker": ServiceKey("demo-prefect-worker", [Scope.RUNS_REGISTER], bound)},
        Known(
            "every task is verified as its flow run's, made known by its worker; no process of a flow holds a key",
            f"prefect:{PREFECT.source}, by its worker",
            {"deployment": "deployment", "work_pool": "work pool", "task_assurance": "which task it is:"},
            "keys where flows run",
        ),
        LastReads(
            "what a run was given dies with it: it writes no more, and reads for no more than a few seconds",
            "the run is over: what it held may read for ten more seconds.",
            "Waiting for them to pass, to see that all of it is dead then.",
            noticed_within=10.0,
        ),
        {"prefect": [{"source": PREFECT.source, "url": url, "check_interval": "1s"}]},
    )
