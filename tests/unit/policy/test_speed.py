"""A guard against decisions becoming slow; `python bench/policy.py` measures."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from taskgate.domain import Verdict
from taskgate.policy.decision import Context


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_policy", Path(__file__).parents[3] / "bench" / "policy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_thousand_rules_decide_within_half_a_millisecond(bench: ModuleType) -> None:
    """Measured at a tenth of it; the best of a few tries, as the machine may be busy."""
    policy = bench.loaded(bench.spread(1000))
    assert policy.decide(next(bench.principals()), bench.TARGET, bench.ACTION, Context()).verdict is Verdict.ALLOW
    assert min(max(bench.measure(policy)) for _ in range(3)) < 0.0005


def test_the_worst_a_hundred_rules_can_ask_for(bench: ModuleType) -> None:
    policy = bench.loaded(bench.all_match(100))
    decision = policy.decide(next(bench.principals()), bench.TARGET, bench.ACTION, Context())
    assert len(decision.matches) == 100
    assert min(max(bench.measure(policy)) for _ in range(3)) < 0.005
