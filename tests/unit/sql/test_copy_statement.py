"""COPY in all its forms."""

from __future__ import annotations

import pytest

from tests.unit.sql.catalogs import facts, outputs, outside, pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("copy users to stdout", ["copy_out public.users", "select public.users"]),
        ("copy users (id) to stdout (format csv, header)", ["copy_out public.users", "select public.users"]),
        ("copy (select * from users) to stdout", ["copy_out public.users", "select public.users"]),
        ("copy (select 1) to stdout", ["copy_out"]),
        (
            "copy (delete from orders returning id) to stdout",
            ["copy_out public.orders", "delete public.orders", "select public.orders"],
        ),
        ("copy users from stdin", ["copy_in public.users", "insert public.users"]),
        ("copy users to program 'x'", ["admin copy program", "copy_out public.users", "select public.users"]),
        ("copy users from '/etc/passwd'", ["admin copy file", "copy_in public.users", "insert public.users"]),
        ("copy users to stdout (encoding 'utf-8')", ["copy_out public.users", "select public.users"]),
        (
            "copy users to stdout (encoding 'sjis')",
            ["copy_out public.users", "select public.users", "unknown COPY encoding sjis"],
        ),
        (
            "copy users to stdout (future)",
            ["copy_out public.users", "select public.users", "unknown COPY option future"],
        ),
    ],
)
def test_effects(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected


def test_columns() -> None:
    assert outputs("copy users (ssn, id) to stdout") == [("ssn", ["users.ssn"], True), ("id", ["users.id"], True)]
    assert outputs("copy (select ssn as a from users) to stdout") == [("a", ["users.ssn"], True)]
    assert outside("copy (select upper(ssn || 'x') from users) to stdout") == ["users.ssn"]


def test_generated_columns_are_not_sent() -> None:
    assert [name for name, _, _ in outputs("copy made to stdout") or []] == ["id", "ssn"]


def test_a_filter_on_the_way_in_is_used() -> None:
    assert outside("copy users from stdin where ssn <> ''") == ["users.ssn"]


def test_what_changes() -> None:
    assert facts("copy users from stdin").changes
    assert facts("copy (delete from orders returning id) to stdout").changes
    assert not facts("copy users to stdout").changes
    assert facts("copy users to stdout").returns_rows
