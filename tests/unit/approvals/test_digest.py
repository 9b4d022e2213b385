from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.approvals.digest import ActionDigest, canonical, digest
from taskgate.domain import Action, Environment, Facts, Pair, Parameter, Target, TlsMode

KEY = bytes(range(32))
TARGET = Target("orders-db", "postgres", "10.0.0.5", 5432, "orders", "app", "env:ORDERS", TlsMode.VERIFY_FULL)
ACTION = Action(
    protocol="postgres",
    text="DELETE FROM public.orders WHERE id = $1",
    facts=(Facts((Pair("sql.delete", "public.orders"), Pair("sql.select", "public.orders")), changes=True),),
    environment=Environment("etl", '"$user", public', (("jit", "off"), ("work_mem", "4MB")), 7),
    parameters=(Parameter(23, 1, b"\x00\x00\x00\x07"), Parameter(25, 0, None), Parameter(25, 0, b"")),
    parameter_types=(23, 25, 25),
)
CONTEXT: dict[str, Any] = {
    "target": TARGET,
    "policy_version": "p1",
    "owner_key": "task:prod/etl/run-1/clean",
    "row_bound": 500,
}


def of(action: Action = ACTION, **changes: Any) -> str:
    return digest(KEY, action, **{**CONTEXT, **changes})


def test_vector() -> None:
    """Fixed: a change of the form makes every open grant void and needs another `VERSION`."""
    text = (
        '{"catalog_version":7,"owner_key":"task:prod/etl/run-1/clean","parameter_types":[23,25,25],'
        '"parameters":[[23,1,"AAAABw=="],[25,0,null],[25,0,""]],"policy_version":"p1","protocol":"postgres",'
        '"role":"etl","row_bound":500,"search_path":"\\"$user\\", public",'
        '"settings":[["jit","off"],["work_mem","4MB"]],'
        '"statements":[[true,[["sql.delete","public.orders",true],["sql.select","public.orders",true]]]],'
        '"streams":false,"target":"orders-db","target_digest":"' + TARGET.digest() + '",'
        '"text":"DELETE FROM public.orders WHERE id = $1","version":"taskgate approval v1"}'
    )
    assert canonical(ACTION, **CONTEXT).decode() == text
    assert of() == hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    assert of() == "43793b4f87c52c45c1c27b286fb33bfabef205743c7c44a6e404f571343939ce"


def test_same_again_and_order_of_settings_and_pairs_does_not_matter() -> None:
    environment = replace(ACTION.environment, settings=ACTION.environment.settings[::-1])
    facts = (replace(ACTION.facts[0], pairs=ACTION.facts[0].pairs[::-1]),)
    assert of(replace(ACTION, environment=environment, facts=facts)) == of() == ActionDigest(KEY).of(ACTION, **CONTEXT)


def _with_parameter(index: int, parameter: Parameter) -> Action:
    parameters = list(ACTION.parameters or ())
    parameters[index] = parameter
    return replace(ACTION, parameters=tuple(parameters))


def _with_environment(**changes: Any) -> Action:
    return replace(ACTION, environment=replace(ACTION.environment, **changes))


@pytest.mark.parametrize(
    "other",
    [
        replace(ACTION, text=ACTION.text + " "),
        replace(ACTION, text=ACTION.text.lower()),
        replace(ACTION, protocol="mysql"),
        replace(ACTION, parameter_types=(20, 25, 25)),
        replace(ACTION, streams=True),
        replace(ACTION, facts=ACTION.facts * 2),
        replace(ACTION, facts=(replace(ACTION.facts[0], complete=False),)),
        replace(ACTION, facts=(replace(ACTION.facts[0], pairs=(Pair("sql.delete", "public.orders"),)),)),
        replace(ACTION, parameters=(ACTION.parameters or ())[:2]),
        _with_parameter(0, Parameter(20, 1, b"\x00\x00\x00\x07")),
        _with_parameter(0, Parameter(23, 0, b"\x00\x00\x00\x07")),
        _with_parameter(0, Parameter(23, 1, b"\x00\x00\x00\x08")),
        _with_parameter(1, Parameter(25, 0, b"")),
        _with_parameter(1, Parameter(25, 0, b"null")),
        _with_parameter(2, Parameter(25, 0, None)),
        _with_environment(role="admin"),
        _with_environment(search_path="evil, public"),
        _with_environment(settings=(("jit", "off"),)),
        _with_environment(settings=(("jit", "on"), ("work_mem", "4MB"))),
        _with_environment(catalog_version=8),
    ],
)
def test_any_change_of_the_action_is_another_decision(other: Action) -> None:
    assert of(other) != of()


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_version": "p2"},
        {"owner_key": "task:prod/etl/run-2/clean"},
        {"row_bound": 501},
        {"row_bound": None},
        *({"target": replace(TARGET, **{name: value})} for name, value in {
            "name": "users-db", "host": "10.0.0.6", "port": 5433, "database": "x", "user": "y", "secret": "env:Z",
            "tls": TlsMode.VERIFY_CA, "labels": {"tier": "gold"},
        }.items()),
    ],
)  # fmt: skip
def test_any_change_around_the_action_is_another_decision(changes: dict[str, Any]) -> None:
    assert of(**changes) != of()


def test_environment_and_parameters_are_covered_whole() -> None:
    """A field added to what decides an action's meaning must come into the digest: this fails until it does. (`shape`
    says only which texts have equal facts; the digest is over the text itself.)"""
    assert {field.name for field in fields(Environment)} == {"role", "search_path", "settings", "catalog_version"}
    assert set(Parameter._fields) == {"type_oid", "format", "value"}
    assert {field.name for field in fields(Action)} == {
        "protocol", "text", "facts", "environment", "parameters", "parameter_types", "executes", "streams",
        "transaction", "shape",
    }  # fmt: skip


def test_another_key_is_another_digest_and_a_short_one_none() -> None:
    assert digest(bytes(32), ACTION, **CONTEXT) != of()
    with pytest.raises(ValueError):
        ActionDigest(b"short")


def test_a_grant_to_a_run_is_for_a_run_that_is_as_well_known_and_not_bent() -> None:
    facts = {"assurance": "verified", "deployment": "a/b", "job_variables": ("env",)}
    given = of(owner_facts=facts)
    assert given == of(owner_facts=dict(reversed(facts.items())))
    others = [{**facts, "assurance": "asserted"}, {**facts, "deployment": "a/c"}, {**facts, "job_variables": ()}, {}]
    assert len({given, *(of(owner_facts=other) for other in others)}) == 5
    assert of(owner_facts={}) == of(), "grants to tasks are what they were"


def test_unbound_parameters_have_no_digest() -> None:
    with pytest.raises(ValueError):
        of(replace(ACTION, parameters=None))


texts = st.text(max_size=12)
parameters = st.lists(
    st.builds(Parameter, st.integers(0, 4000), st.integers(0, 1), st.none() | st.binary(max_size=8)), max_size=3
).map(tuple)
environments = st.builds(
    Environment,
    texts,
    texts,
    st.dictionaries(texts, texts, max_size=2).map(lambda settings: tuple(sorted(settings.items()))),
    st.integers(0, 3),
)
pairs = st.frozensets(st.builds(Pair, texts, texts, st.booleans()), max_size=3).map(
    lambda found: tuple(sorted(found, key=lambda pair: (pair.effect, pair.object, pair.resolved)))
)
actions = st.builds(
    Action,
    protocol=texts,
    text=texts,
    facts=st.lists(st.builds(Facts, pairs=pairs, complete=st.booleans()), max_size=2).map(tuple),
    environment=environments,
    parameters=parameters,
    parameter_types=st.lists(st.integers(0, 4000), max_size=3).map(tuple),
    streams=st.booleans(),
)
contexts = st.tuples(texts, texts, st.none() | st.integers(0, 9))


@given(actions, contexts, actions, contexts)
def test_no_two_different_inputs_serialise_alike(
    one: Action, around_one: tuple[str, str, int | None], other: Action, around_other: tuple[str, str, int | None]
) -> None:
    def serialised(action: Action, around: tuple[str, str, int | None]) -> bytes:
        policy_version, owner_key, row_bound = around
        return canonical(action, target=TARGET, policy_version=policy_version, owner_key=owner_key, row_bound=row_bound)

    same = (one, around_one) == (other, around_other)
    assert (serialised(one, around_one) == serialised(other, around_other)) is same


@given(actions)
def test_what_was_serialised_can_be_read_back(action: Action) -> None:
    """The stronger reason why two inputs never collide: nothing is lost."""
    read = json.loads(canonical(action, **CONTEXT))
    assert read["text"] == action.text
    assert read["role"] == action.environment.role
    assert [tuple(pair) for pair in read["settings"]] == sorted(action.environment.settings)
    assert len(read["parameters"]) == len(action.parameters or ())
