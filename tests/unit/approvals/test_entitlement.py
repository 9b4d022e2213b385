from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskgate.approvals.entitlement import is_among
from taskgate.domain import PrincipalKind
from taskgate.identity.api_keys import ApiKey

ALICE = ApiKey(
    "tgk_1", PrincipalKind.USER, "Alice", frozenset(), ("dba", "ops"), ("alice@example.com",), datetime.now(UTC), "test"
)


@pytest.mark.parametrize("entry", ["group:dba", "user:alice", "user:ALICE", "user:alice@example.com", "user: Alice "])
def test_among(entry: str) -> None:
    assert is_among(ALICE, [entry])
    assert is_among(ALICE, ["group:none", entry])


@pytest.mark.parametrize(
    "entry",
    ["group:DBA", "group:db", "group:", "group:dba ", "dba", "alice", "user:", "user:ali", "user:alice@example.org",
     "", ":", "role:dba", "*", "group:*", "user:*"],
)  # fmt: skip
def test_not_among(entry: str) -> None:
    """A person is granted nothing by likeness."""
    assert not is_among(ALICE, [entry])


def test_nobody_named_is_nobody() -> None:
    assert not is_among(ALICE, [])
