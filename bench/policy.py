"""How long a decision takes that nobody has remembered: `python bench/policy.py` prints the figures.

A decision is timed with 12, 100 and 1,000 rules. `first` is a principal never seen before (its rules have to be picked
from all), `warm` the same principal again. In `all match` every rule is about the principal and the statement, and
every one has a condition of its own: the worst a policy of that size can ask for."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from taskgate.domain import Action, Assurance, Attempt, Facts, Pair, Principal, PrincipalKind, Target, TaskKey
from taskgate.policy.decision import Context
from taskgate.policy.load import load
from taskgate.policy.policy_set import PolicySet

TARGET = Target("orders-db", "postgres", "127.0.0.1", 5432, "orders", "gateway", "env:ORDERS")
ACTION = Action(
    "postgres",
    "SELECT id, total FROM public.orders_7 WHERE id = $1",
    (Facts((Pair("sql.select", "public.orders_7"),), tag="SELECT", returns_rows=True, has_where=True),),
)


def principals() -> Iterator[Principal]:
    """Task attempts that policy can tell apart."""
    for number in count():
        task = TaskKey("prod-airflow", f"dag_{number}", "run", "load")
        attributes = {"bundle": "etl", "run_type": "scheduled", "bundle_version": f"{number:040x}"}
        yield Principal(
            PrincipalKind.TASK,
            f"dag_{number}.load",
            "prod-airflow",
            Assurance.VERIFIED,
            "airflow",
            attributes,
            Attempt(str(number), task),
        )


def spread(rules: int) -> str:
    """Rules as a company has them: many targets, sources, bundles and tables; some deny, some ask, a tenth have a
    condition."""
    lines = ["version: 1", "rules:"]
    for number in range(rules):
        target = "orders-db" if number % 3 == 0 else f"db-{number % 40}"
        verdict = ("allow", "allow", "allow", "deny", "approve")[number % 5]
        effects = "[sql.select, sql.explain]" if verdict == "allow" else "[sql.delete, sql.update, sql.truncate]"
        lines += [
            f"  - id: rule-{number}",
            f"    match: {{targets: [{target}],"
            f" principals: {{kind: task, source: prod-airflow, bundle: [etl, b{number}]}},"
            f" effects: {effects}, objects: [public.orders_{number}, 's{number}.*']}}",
            f"    verdict: {verdict}",
        ]
        if verdict == "approve":
            lines.append("    approval: {from: 'group:dba'}")
        if number % 10 == 7:
            lines.append('    when: principal.run_type == "scheduled"')
    lines += [
        "  - id: the-one",
        "    match: {targets: orders-db, principals: {bundle: etl}, effects: sql.select, objects: public.orders_7}",
        "    verdict: allow",
        '    when: principal.bundle == "etl" && principal.run_type == "scheduled"',
    ]
    return "\n".join(lines)


def all_match(rules: int) -> str:
    """Every rule is about everybody and everything, with a condition nobody else has."""
    lines = ["version: 1", "rules:"]
    for number in range(rules):
        lines += [
            f"  - id: rule-{number}",
            "    match: {targets: ['*'], principals: {kind: task}, effects: ['sql.*'], objects: ['public.*']}",
            f'    when: principal.bundle != "b{number}" && principal.run_type == "scheduled"',
            "    verdict: allow",
        ]
    return "\n".join(lines)


def loaded(text: str) -> PolicySet:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        return load([path])


def median(run: Callable[[], object], rounds: int = 200) -> float:
    """Median seconds of one call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(policy: PolicySet) -> tuple[float, float]:
    """Seconds of a decision: (for a principal never seen before, again for the same)."""
    strangers = principals()
    context = Context()
    policy.decide(next(strangers), TARGET, ACTION, context)
    first = median(lambda: policy.decide(next(strangers), TARGET, ACTION, context))
    known = next(strangers)
    warm = median(lambda: policy.decide(known, TARGET, ACTION, context))
    return first, warm


def main() -> None:
    print(f"{'policy':<12}{'rules':>7}{'load ms':>10}{'first µs':>11}{'warm µs':>10}")
    for name, make in (("spread", spread), ("all match", all_match)):
        for rules in (12, 100, 1000):
            start = time.perf_counter()
            policy = loaded(make(rules))
            took = time.perf_counter() - start
            first, warm = measure(policy)
            print(f"{name:<12}{rules:>7}{took * 1e3:>10.0f}{first * 1e6:>11.0f}{warm * 1e6:>10.0f}")


if __name__ == "__main__":
    main()
