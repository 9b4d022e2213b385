import pytest

from taskgate.domain import Assurance, Principal, Verdict
from taskgate.policy.model import Principals
from taskgate.policy.principals import compile_principals, names_somebody
from tests.unit.policy.builders import task, user


def fit(spec: dict[str, object], who: Principal, verdict: Verdict | None = Verdict.ALLOW, exempts: bool = False) -> str:
    found = compile_principals(Principals.model_validate(spec), verdict=verdict, exempts=exempts).fit(who)
    return f"{found.fit.value} {found.why}".strip()


@pytest.mark.parametrize(
    ("spec", "who", "expected"),
    [
        ({}, task(), "yes"),
        ({"kind": "task"}, task(), "yes"),
        ({"kind": ["user", "service"]}, task(), 'no principal.kind is "task"'),
        ({"source": "prod"}, task(), "yes"),
        ({"source": "staging-*"}, task(), 'no principal.source is "prod"'),
        ({"name": "nightly.*"}, task(), "yes"),
        ({"name": "daily.*"}, task(), 'no principal.name is "nightly.load"'),
        ({"groups": ["dba", "sec"]}, user("a", "ops", "sec"), "yes"),
        ({"groups": "dba"}, user("a", "ops"), 'no principal.groups is ["ops"]'),
        ({"groups": "dba"}, task(), "no principal.groups is []"),
        ({"bundle": ["etl", "ml-*"]}, task(bundle="ml-7"), "yes"),
        ({"bundle": "etl"}, task(bundle="x"), 'no principal.bundle is "x"'),
        ({"bundle": "etl"}, task(), "unsure principal.bundle is not known"),
        ({"bundle": "etl"}, user(), "no it has no bundle"),
        ({"tags": "gold"}, task(tags=("silver", "gold")), "yes"),
        ({"tags": "gold"}, task(tags=("silver",)), 'no principal.tags is ["silver"]'),
        ({"dag_id": "nightly", "task_id": "load"}, task(), "yes"),
        ({"verified_by": "oidc"}, user(), "yes"),
        ({"verified_by": "saml"}, user(), 'no principal.verified_by is "oidc"'),
        ({"bundle": "etl", "run_type": "manual"}, task(run_type="scheduled"), 'no principal.run_type is "scheduled"'),
    ],
)
def test_who_is_meant(spec: dict[str, object], who: Principal, expected: str) -> None:
    assert fit(spec, who) == expected


ASSERTED = task(assurance=Assurance.ASSERTED)


@pytest.mark.parametrize(
    ("spec", "verdict", "exempts", "expected"),
    [
        ({}, Verdict.ALLOW, False, "unsure it is about verified principals, and this one is asserted"),
        ({}, Verdict.APPROVE, False, "unsure it is about verified principals, and this one is asserted"),
        ({}, Verdict.DENY, False, "yes"),
        ({}, None, False, "yes"),
        ({}, None, True, "unsure it is about verified principals, and this one is asserted"),
        ({"assurance": "any"}, Verdict.ALLOW, False, "yes"),
        ({"assurance": ["asserted", "verified"]}, Verdict.ALLOW, False, "yes"),
        ({"assurance": "delegated"}, Verdict.ALLOW, False, 'no principal.assurance is "asserted"'),
        ({"assurance": "verified"}, Verdict.DENY, False, 'no principal.assurance is "asserted"'),
    ],
)
def test_assurance(spec: dict[str, object], verdict: Verdict | None, exempts: bool, expected: str) -> None:
    assert fit(spec, ASSERTED, verdict, exempts) == expected


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, False),
        ({"kind": "user"}, False),
        ({"assurance": "verified"}, False),
        ({"name": "*"}, False),
        ({"groups": "support"}, True),
        ({"source": "okta"}, True),
        ({"bundle": ["*", "etl"]}, True),
    ],
)
def test_what_names_somebody(spec: dict[str, object], named: bool) -> None:
    assert names_somebody(Principals.model_validate(spec)) is named
    assert not names_somebody(None)
