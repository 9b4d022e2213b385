"""The parser binding: the grammar it must have, and what hostile texts may do to it (nothing)."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import threading
import time

import pytest

from taskgate.sql import libpg_query
from taskgate.sql.faults import StatementTooComplex, SyntaxFault, TextFault


def test_grammar_version_is_pinned() -> None:
    """A new grammar renames nodes (17 → 18: returningList → returningClause): look at every test before raising this."""
    assert libpg_query.grammar_version() // 10_000 == libpg_query.GRAMMAR == 18


def test_node_names_of_this_grammar() -> None:
    (raw,) = libpg_query.parse("delete from t returning *")
    assert set(raw["stmt"]["DeleteStmt"]) == {"relation", "returningClause"}


def test_statements_carry_their_places() -> None:
    first, second = libpg_query.parse("select 1; select 2")
    assert first.get("stmt_location", 0) == 0
    assert first["stmt_len"] == 8
    assert second["stmt_location"] == 10


@pytest.mark.parametrize("text", ["", " ", ";", ";;", "-- nothing", "/* a /* b */ c */"])
def test_empty_texts_have_no_statements(text: str) -> None:
    assert libpg_query.parse(text) == []


@pytest.mark.parametrize(
    ("text", "position"),
    [("selec 1", 1), ("select 'é', form form form", 22), ("select (", 9), ("select 1 from", 14)],
)
def test_syntax_fault_has_a_position_in_characters(text: str, position: int) -> None:
    with pytest.raises(SyntaxFault) as fault:
        libpg_query.parse(text)
    assert fault.value.position == position
    assert fault.value.sqlstate == "42601"


@pytest.mark.parametrize(
    "text", [b"select '\xff'", b"select '\xed\xa0\x80'", "select '\ud800'", "select '\0'", b"a\0b"]
)
def test_text_that_is_no_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(TextFault):
        libpg_query.parse(text)


HOSTILE = {
    "parentheses": "select " + "(" * 100_000 + "1" + ")" * 100_000,
    "not": "select " + "not " * 10_000 + "true",
    "plus": "select 1" + "+1" * 100_000,
    "plus, as long as may be": "select 1" + "+1" * 500_000,
    "casts": "select 1" + "::a" * 200_000,
    "unions": "select 1" + " union select 1" * 30_000,
    "joins": "select 1 from a" + " join a on true" * 30_000,
    "is null": "select 1" + " isnull" * 100_000,
    "collate": "select 1" + " collate a" * 50_000,
    "subqueries": "select * from " + "(select * from " * 5_000 + "t" + ") x" * 5_000,
    "cases": "select " + "case when true then " * 5_000 + "1" + " end" * 5_000,
    "arrays": "select " + "array[" * 5_000 + "1" + "]" * 5_000,
    "minus": "select " + "- " * 100_000 + "1",
    "too many statements": ";".join(["select 1"] * 3_000),
    "glued comments": "select 1 " + "/*" * 300_000,
    "too long": "select '" + "x" * libpg_query.MAX_TEXT + "'",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_refused(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(StatementTooComplex):
        libpg_query.parse(HOSTILE[name])
    assert time.monotonic() - started < 10


def test_hostile_texts_are_refused_on_a_small_stack() -> None:
    """Worker threads may have far less than the main thread's 8 MiB."""
    refused: list[bool] = []

    def run() -> None:
        try:
            libpg_query.parse("select 1" + "+1" * 100_000)
        except StatementTooComplex:
            refused.append(True)

    usual = threading.stack_size(4 << 20)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(usual)
    assert refused == [True]


def test_the_worst_text_parsed_in_place_fits_four_megabytes() -> None:
    done: list[str] = []

    def run() -> None:
        text = "select 1" + "+1" * ((libpg_query._IN_PLACE - 8) // 2)
        assert len(text) <= libpg_query._IN_PLACE
        try:
            libpg_query.parse(text)
        except StatementTooComplex:
            done.append("refused")

    usual = threading.stack_size(4 << 20)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(usual)
    assert done == ["refused"]


def test_the_thread_stack_size_of_others_is_left_alone() -> None:
    threading.stack_size(1 << 20)
    libpg_query.parse("select '" + "x" * 100_000 + "'")
    assert threading.stack_size(0) == 1 << 20


def test_long_lists_are_no_nesting() -> None:
    (raw,) = libpg_query.parse("select true" + " and true" * 50_000)
    assert len(raw["stmt"]["SelectStmt"]["targetList"][0]["ResTarget"]["val"]["BoolExpr"]["args"]) == 50_001
