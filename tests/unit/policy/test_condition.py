import cel
import pytest

from taskgate.policy.condition import Condition, Outcome, compile_condition
from taskgate.policy.facts import FactRecord
from tests.unit.policy.builders import NOON, ORDERS, does, task


def compiled(source: str) -> Condition:
    condition, problems = compile_condition(source)
    assert condition is not None, [problem.message for problem in problems]
    return condition


def evaluated(source: str, values: dict[str, object], **state: object) -> tuple[str, str]:
    found = compiled(source).evaluate(cel.Context(values), **state)  # type: ignore[arg-type]
    return str(found.outcome), found.why


def test_true_and_false() -> None:
    assert evaluated("principal.name == 'a'", {"principal": {"name": "a"}}) == ("true", "")
    assert evaluated("principal.name == 'a'", {"principal": {"name": "b"}}) == ("false", "")


def test_a_fact_that_is_missing_is_unknown_and_named() -> None:
    assert evaluated("principal.bundle == 'a'", {"principal": {}}) == ("unknown", "principal.bundle is not known")
    assert evaluated("target.labels.env == 'a'", {"target": {"labels": {}}}) == ("unknown", "env is not known")


def test_what_does_not_hang_on_the_missing_fact_is_decided() -> None:
    assert evaluated("principal.name == 'a' && principal.bundle == 'b'", {"principal": {"name": "x"}})[0] == "false"
    assert evaluated("principal.bundle == 'b' || principal.name == 'x'", {"principal": {"name": "x"}})[0] == "true"
    assert evaluated("has(principal.bundle) && principal.bundle == 'b'", {"principal": {}})[0] == "false"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("action.parameters[3] == 'x'", "an index is out of bounds"),
        ("10 / action.statement_count == 1", "division by zero"),
        ("action.statement_count + 9223372036854775806 > 1", "a number is too large"),
        ("principal.attributes['age'] > 5", "the types do not fit"),
        ("int(action.parameters[0]) > 5", "it cannot be evaluated"),
    ],
)
def test_failures_say_what_without_any_value(source: str, why: str) -> None:
    count = 2 if "+" in source else 0
    values = {
        "action": {"parameters": ["s3cret"], "statement_count": count},
        "principal": {"attributes": {"age": "s3cret"}},
    }
    condition = compiled(source)
    found = condition.evaluate(cel.Context(values))
    assert (found.outcome, found.why) == (Outcome.FAILED, why)
    assert "s3cret" not in repr(found)


def test_an_answer_that_is_no_boolean_is_a_failure() -> None:
    """The type check refuses such conditions; the evaluation does not rely on that."""
    found = Condition("1", cel.compile("1"), frozenset(), False).evaluate(cel.Context({}))
    assert (found.outcome, found.why) == (Outcome.FAILED, "it is neither true nor false")


def test_unbound_parameters_and_missing_estimates_are_asked_for() -> None:
    source = "action.parameters[0] == 'x' && impact.rows > 5"
    nothing: dict[str, object] = {"action": {}, "impact": {}}
    assert evaluated(source, nothing, parameters_bound=False)[0] == "needs parameters"
    assert evaluated(source, {"action": {"parameters": ["x"]}, "impact": {}}, impact=False)[0] == "needs impact"
    assert evaluated(source, nothing)[0] == "unknown"


def test_what_is_too_large_to_look_at_is_a_failure() -> None:
    record = FactRecord(["action.text", "action.tag"], task(), ORDERS, does(tag="SELECT"), NOON)
    assert record.oversize == set()
    huge = does(*(f"sql.select public.t{n}" for n in range(1001)))
    record = FactRecord(["action.objects", "action.tag"], task(), ORDERS, huge, NOON)
    assert record.oversize == {"action.objects"}
    assert record.values == {"action": {"tag": ""}}
    found = compiled("action.objects.exists(o, o == 'x')").evaluate(
        cel.Context(record.values), oversize=frozenset(record.oversize)
    )
    assert (found.outcome, found.why) == (Outcome.FAILED, "action.objects is too large to look at")


def test_volatile_is_what_no_cache_key_holds() -> None:
    for source in ("context.hour > 1", "action.text == 'x'", "impact.rows > 1", "size(action.parameters) > 1"):
        assert compiled(source).volatile
    for source in ("principal.try_number > 1", "principal.run_id == 'x'", "context.client_address == '1'"):
        assert compiled(source).volatile
    for source in ("principal.bundle == 'x'", "action.has_where", "target.name == 'x'", "action.columns == ['x']"):
        assert not compiled(source).volatile


def test_equal_texts_are_one_condition() -> None:
    assert compile_condition("principal.name == 'same'")[0] is compile_condition("principal.name == 'same'")[0]
