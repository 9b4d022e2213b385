"""Analyses are shared where texts mean the same, and only there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskgate.domain import Environment
from taskgate.protocols.postgres.statements import Analyst
from taskgate.sql.catalog import Catalog, Column, Relation
from taskgate.sql.names import RelationCreated, SessionNames, SessionRelation
from taskgate.sql.postgres import analyze

CATALOG = Catalog(version=1, relations=(Relation(16400, "public", "t", (Column("a", 1, "pg_catalog.int4"),)),))


class Counting:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str, catalog: Catalog, search_path: Sequence[str], names: SessionNames | None) -> Any:
        self.texts.append(text)
        return analyze(text, catalog, search_path, names)


def test_number_literals_share_an_analysis_and_keep_their_text() -> None:
    counting = Counting()
    analyst = Analyst(counting)
    here = analyst.surroundings(Environment("r", "public"), CATALOG)
    texts = [f"SELECT a FROM t WHERE a = {number};" for number in (1, 22, 333)]
    statements = [analyst.statement(text, (), here, SessionNames(), "x") for text in texts]
    assert [statement.action.text for statement in statements] == texts
    assert len({statement.action.shape for statement in statements}) == 1
    assert [statement.preparing.text for statement in statements] == texts
    assert len(counting.texts) == 1


def test_equal_surroundings_are_one_object() -> None:
    analyst = Analyst(analyze)
    one = analyst.surroundings(Environment("r", "public"), CATALOG)
    assert analyst.surroundings(Environment("r", "public"), CATALOG) is one
    assert analyst.surroundings(Environment("r", "other"), CATALOG) is not one
    assert analyst.surroundings(Environment("r", "public"), Catalog(version=2)) is not one


def test_nothing_is_shared_between_surroundings_types_and_targets() -> None:
    counting = Counting()
    analyst = Analyst(counting)
    here = analyst.surroundings(Environment("r", "public"), CATALOG)
    there = analyst.surroundings(Environment("r", "other"), CATALOG)
    for surroundings, types, target in (
        (here, (), "x"),
        (there, (), "x"),
        (here, (23,), "x"),
        (here, (), "y"),
        (here, (), "x"),
    ):
        analyst.statement("SELECT a FROM t", types, surroundings, SessionNames(), target)
    assert len(counting.texts) == 4


def test_the_cache_is_bounded() -> None:
    counting = Counting()
    analyst = Analyst(counting, capacity=2)
    here = analyst.surroundings(Environment("r", "public"), CATALOG)
    for name in ("a", "b", "c", "a"):
        analyst.statement(f"SELECT '{name}'", (), here, SessionNames(), "x")
    assert len(counting.texts) == 4


def test_a_statement_about_the_sessions_own_names_is_never_kept() -> None:
    counting = Counting()
    analyst = Analyst(counting)
    here = analyst.surroundings(Environment("r", "public"), CATALOG)
    for _ in range(2):
        assert analyst.statement("EXECUTE p", (), here, SessionNames(), "x").volatile
    assert len(counting.texts) == 2


def test_a_session_with_objects_of_its_own_shares_with_nobody() -> None:
    analyst = Analyst(analyze)
    here = analyst.surroundings(Environment("r", "public"), CATALOG)
    everybody = analyst.statement("SELECT a FROM t", (), here, SessionNames(), "x")
    names = SessionNames()
    names.confirm(names.stage((RelationCreated(SessionRelation("pg_temp", "t", None)),)))
    own = analyst.statement("SELECT a FROM t", (), here, names, "x")
    assert own.volatile
    assert own.facts[0].pairs != everybody.facts[0].pairs
    assert analyst.known("SELECT a FROM t", (), here, names, "x") is None
    assert analyst.statement("SELECT a FROM t", (), here, SessionNames(), "x") is everybody
