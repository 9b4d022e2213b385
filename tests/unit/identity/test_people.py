from __future__ import annotations

import pytest

from taskgate.domain import Assurance, Attempt, AttributeValue, Principal, PrincipalKind, TaskKey
from taskgate.identity.people import canonical, canonical_names, may_be_one_person, people_behind


def principal(kind: PrincipalKind, name: str, attributes: dict[str, AttributeValue]) -> Principal:
    attempt = Attempt("ti", TaskKey("prod", "etl", "r", "t")) if kind is PrincipalKind.TASK else None
    return Principal(kind, name, "prod", Assurance.VERIFIED, "test", attributes, attempt)


@pytest.mark.parametrize(
    "written", ["alice", "Alice", "ALICE ", "user:alice", " User:Alice", "ａｌｉｃｅ", "user: alice"]
)
def test_ways_to_write_one_name(written: str) -> None:
    assert canonical(written) == "alice"


def test_sharp_s_and_composed_letters_fold() -> None:
    assert canonical("STRASSE") == canonical("straße")
    assert canonical("é") == canonical("e\u0301")
    assert canonical_names(["", "  ", "user:"]) == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("alice", "alice", True),
        ("alice", "alice@example.com", True),
        ("alice@example.com", "alice", True),
        ("alice@example.com", "alice@example.org", False),
        ("alice", "bob", False),
        ("alice", "alice2@example.com", False),
    ],
)
def test_names_that_may_be_one_persons(one: str, other: str, same: bool) -> None:
    assert may_be_one_person([one], ["x", other]) is same
    assert not may_be_one_person([], [other])


def test_people_behind_a_task_are_not_its_name() -> None:
    task = principal(
        PrincipalKind.TASK,
        "etl.clean",
        {"triggering_user": "Carol", "bundle_owners": ("user:dave", "erin@example.com"), "owner": "airflow"},
    )
    assert people_behind(task) == {"carol", "dave", "erin@example.com"}
    assert people_behind(principal(PrincipalKind.TASK, "etl.clean", {})) == frozenset()


def test_people_behind_a_person_or_service_are_itself_and_its_aliases() -> None:
    assert people_behind(principal(PrincipalKind.USER, "Alice", {"aliases": ("al@example.com",)})) == {
        "alice",
        "al@example.com",
    }
    assert people_behind(principal(PrincipalKind.SERVICE, "bot", {"triggering_user": "carol"})) == {"bot", "carol"}


def test_odd_attribute_values_are_no_names() -> None:
    assert (
        people_behind(principal(PrincipalKind.TASK, "t", {"triggering_user": 7, "bundle_owners": True})) == frozenset()
    )
