"""Policies, principals and actions for tests, in as few words as possible."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taskgate.domain import (
    Action,
    Assurance,
    Attempt,
    Facts,
    Pair,
    Principal,
    PrincipalKind,
    Target,
    TaskKey,
)
from taskgate.policy.decision import Context, Decision
from taskgate.policy.load import load, read
from taskgate.policy.policy_set import PolicySet

ORDERS = Target("orders-db", "postgres", "127.0.0.1", 5432, "orders", "gateway", "env:ORDERS", labels={"env": "prod"})
NOON = Context(datetime(2026, 11, 23, 12, 30, tzinfo=UTC), "10.0.0.7")
DETECTORS = ("credit_card", "email", "us_ssn")


def policy(*texts: str, builtin: bool = False) -> PolicySet:
    """A set of these files, `version: 1` added; without built-in rules unless asked for."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, text in enumerate(texts):
            path = Path(folder) / f"file{number}.yaml"
            head = "version: 1\n" if builtin else "version: 1\nbuiltin: false\n"
            path.write_text(head + text)
            paths.append(path)
        return load(paths, detectors=DETECTORS)


def messages(text: str, *, warnings: bool = False) -> list[str]:
    """What is said about a file of this text, as `line: message`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        reading = read([path], detectors=DETECTORS)
        found = reading.warnings if warnings else reading.errors
        return [f"{problem.line}: {problem.message}".replace(str(path), "policy.yaml") for problem in found]


def task(
    *, assurance: Assurance = Assurance.VERIFIED, source: str = "prod", dag_id: str = "nightly", **attributes: Any
) -> Principal:
    key = TaskKey(source, dag_id, "run1", "load")
    return Principal(
        PrincipalKind.TASK,
        f"{dag_id}.load",
        source,
        assurance,
        "test",
        attributes,
        Attempt("a1", key, try_number=2, logical_date="2024-07-01T00:00:00+00:00"),
    )


def user(name: str = "alice", *groups: str, assurance: Assurance = Assurance.VERIFIED, **attributes: Any) -> Principal:
    return Principal(PrincipalKind.USER, name, "okta", assurance, "oidc", {"groups": groups, **attributes})


def does(*pairs: str | Pair, **facts: Any) -> Action:
    """One statement with these pairs, written `sql.select public.orders`."""
    found = []
    for pair in pairs:
        if isinstance(pair, str):
            effect, _, name = pair.partition(" ")
            found.append(Pair(effect, name))
        else:
            found.append(pair)
    return Action("postgres", "text", (Facts(tuple(found), **facts),))


def decide(
    rules: PolicySet | str,
    action: Action,
    who: Principal | None = None,
    context: Context = NOON,
    target: Target = ORDERS,
) -> Decision:
    loaded = policy(rules) if isinstance(rules, str) else rules
    return loaded.decide(who or task(), target, action, context)


def rule(verdict: str, effects: str = "sql.select", name: str = "r", **more: str) -> str:
    """One rule's YAML. `objects`, `principals`, `targets` go to match, anything else beside it; an approve rule asks
    group:dba unless it says otherwise."""
    match = {"targets": '"*"', "effects": f"[{effects}]"}
    for key in ("targets", "objects", "principals"):
        if key in more:
            match[key] = more.pop(key)
    if verdict == "approve":
        more.setdefault("approval", '{from: "group:dba"}')
    inside = ", ".join(f"{key}: {value}" for key, value in match.items())
    lines = [f"  - id: {name}", f"    match: {{{inside}}}", f"    verdict: {verdict}"]
    lines += [f"    {key}: {value}" for key, value in more.items()]
    return "\n".join(lines)


def rules(*entries: str) -> str:
    return "rules:\n" + "\n".join(entries) + "\n"
