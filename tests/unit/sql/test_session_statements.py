"""Transactions and the session."""

from __future__ import annotations

import pytest

from taskgate.sql.names import CursorClosed, Deallocated, SearchPathMoved, TemporaryDiscarded
from tests.unit.sql.catalogs import facts, pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("begin", "begin"),
        ("start transaction", "begin"),
        ("begin read write", "begin read write"),
        ("begin read only", "begin read only"),
        (
            "begin isolation level serializable read only deferrable",
            "begin deferrable, isolation level serializable, read only",
        ),
        ("commit", "commit"),
        ("end", "commit"),
        ("commit and chain", "commit and chain"),
        ("rollback", "rollback"),
        ("abort", "rollback"),
        ("savepoint a", "savepoint"),
        ("release a", "release"),
        ("rollback to a", "rollback to"),
        ("set transaction read write", "set read write"),
        ("set transaction isolation level repeatable read", "set isolation level repeatable read"),
        ("set session characteristics as transaction read only", "session read only"),
        ("set transaction snapshot '1'", "set snapshot"),
    ],
)
def test_transactions_can_be_told_apart(text: str, expected: str) -> None:
    assert pairs(text) == [f"transaction {expected}"]
    assert facts(text).complete


@pytest.mark.parametrize("text", ["prepare transaction 'x'", "commit prepared 'x'", "rollback prepared 'x'"])
def test_two_phase_commit_is_unknown(text: str) -> None:
    assert [pair.effect for pair in facts(text).pairs] == ["sql.unknown"]


def test_show_returns_columns() -> None:
    assert [column.name for column in facts("show work_mem").outputs or ()] == ["work_mem"]
    assert len(facts("show all").outputs or ()) == 3


def test_name_changes() -> None:
    assert facts("deallocate p").name_changes == (Deallocated("p"),)
    assert facts("deallocate all").name_changes == (Deallocated(None),)
    assert facts("close c").name_changes == (CursorClosed("c"),)
    assert facts("close all").name_changes == (CursorClosed(None),)
    assert facts("discard all").name_changes == (
        Deallocated(None),
        CursorClosed(None),
        TemporaryDiscarded(),
        SearchPathMoved(),
    )
    assert facts("discard plans").name_changes == ()


def test_code_blocks_and_procedures_are_incomplete() -> None:
    for text in ("do $$ begin end $$", "call archive(1)", "call lower('a')"):
        assert not facts(text).complete, text
    assert facts("call archive(1)").outputs is None
