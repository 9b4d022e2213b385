from __future__ import annotations

import pytest

from taskgate.sql import search_path


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ('"$user", public', ("me", "public")),
        ("", ()),
        ('""', ()),
        ("public", ("public",)),
        ("PUBLIC, Other ", ("public", "other")),
        ('"Mixed Case", "with ""quotes"""', ("Mixed Case", 'with "quotes"')),
        ('a,b,"c,d"', ("a", "b", "c,d")),
        ("$user", ("me",)),
        ('"unclosed', ()),
    ],
)
def test_parse(setting: str, expected: tuple[str, ...]) -> None:
    assert search_path.parse(setting, "me") == expected


def test_effective() -> None:
    assert search_path.effective(("public",)) == ("pg_temp", "pg_catalog", "public")
    assert search_path.effective(("public", "pg_catalog")) == ("pg_temp", "public", "pg_catalog")
    assert search_path.effective(("public", "pg_temp")) == ("pg_catalog", "public", "pg_temp")


def test_creation_schema() -> None:
    existing = frozenset({"public", "b"})
    assert search_path.creation_schema(("a", "b", "public"), existing) == "b"
    assert search_path.creation_schema((), existing) is None
    assert search_path.creation_schema(("pg_temp", "public"), existing) == "pg_temp"
