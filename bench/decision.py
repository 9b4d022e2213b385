"""What a cached decision costs: the permit of an action that has been judged before."""

from __future__ import annotations

import timeit

from taskgate.domain import Action, Assurance, Environment, Facts, Pair, Principal, PrincipalKind, Target
from taskgate.enforcement.decisions import DecisionScope
from taskgate.policy.decision import Context
from taskgate.policy.load import load
from taskgate.sql.catalog import Catalog

_LOOPS = 200_000


def report(policy_file: str) -> None:
    principal = Principal(PrincipalKind.USER, "bench", "taskgate", Assurance.VERIFIED, "api-key:bench")
    target = Target("bench-db", "postgres", "127.0.0.1", 5432, "bench", "bench", "env:X")
    scope = DecisionScope(principal, target, load([policy_file]), Catalog(database="bench"), b"k" * 32)
    facts = Facts((Pair("sql.select", "public.people"),), tag="SELECT", returns_rows=True, literal_sensitive=False)
    action = Action("postgres", "select 1 from public.people", (facts,), Environment(search_path='"$user", public'))
    scope.judge(action, Context(), "ses_bench")
    if scope.cached(action) is None:
        raise RuntimeError("the decision is not cached")
    best = min(timeit.repeat(lambda: scope.cached(action), number=_LOOPS, repeat=5)) / _LOOPS
    print(f"\ncached decision: {best * 1e6:.2f} µs")
