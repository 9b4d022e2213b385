"""Session names: two phases, and every possible meaning while a change is pending."""

from __future__ import annotations

from taskgate.domain import Facts, Pair
from taskgate.sql.names import (
    CursorClosed,
    CursorOpened,
    Deallocated,
    DefinitionsChanged,
    Prepared,
    RelationCreated,
    RelationDropped,
    SessionNames,
    SessionRelation,
    TemporaryDiscarded,
)

ONE, OTHER = {"SelectStmt": {"targetList": [1]}}, {"DeleteStmt": {}}
FACTS = Facts(pairs=(Pair("sql.select", "public.users"),))
TEMPORARY = SessionRelation("pg_temp", "t", (("x", frozenset({"public.users.ssn"})),))


def confirmed(*changes: object) -> SessionNames:
    names = SessionNames()
    names.confirm(names.stage(changes))  # type: ignore[arg-type]
    return names


def test_pending_and_confirmed_are_both_possible() -> None:
    names = confirmed(Prepared("p", ONE))
    ticket = names.stage((Prepared("p", OTHER),))
    assert names.prepared("p") == (ONE, OTHER)
    names.discard(ticket)
    assert names.prepared("p") == (ONE,)


def test_a_live_name_that_is_refused_again_keeps_its_meaning() -> None:
    """PREPARE of a live name fails on the server (42P05): the old statement stays."""
    names = confirmed(Prepared("p", ONE))
    names.discard(names.stage((Prepared("p", OTHER),)))
    assert names.prepared("p") == (ONE,)


def test_confirmed_is_exact() -> None:
    names = confirmed(Prepared("p", ONE))
    names.confirm(names.stage((Prepared("p", OTHER),)))
    assert names.prepared("p") == (OTHER,)


def test_a_pending_deallocate_leaves_the_old_meaning_possible() -> None:
    names = confirmed(Prepared("p", ONE))
    ticket = names.stage((Deallocated("p"),))
    assert names.prepared("p") == (ONE,)
    names.confirm(ticket)
    assert names.prepared("p") == ()


def test_deallocate_all_and_close_all() -> None:
    names = confirmed(Prepared("p", ONE), Prepared("q", ONE), CursorOpened("c", FACTS))
    names.confirm(names.stage((Deallocated(None),)))
    assert names.prepared("p") == names.prepared("q") == ()
    assert names.cursors("c") == (FACTS,)
    names.confirm(names.stage((CursorClosed(None),)))
    assert names.cursors("c") == ()


def test_pipelined_changes_are_confirmed_each_on_its_own() -> None:
    names = SessionNames()
    first = names.stage((Prepared("p", ONE),))
    second = names.stage((Prepared("q", OTHER),))
    names.confirm(second)
    names.discard(first)
    assert names.prepared("p") == ()
    assert names.prepared("q") == (OTHER,)


def test_tickets_are_used_once() -> None:
    names = SessionNames()
    ticket = names.stage((Prepared("p", ONE),))
    names.discard(ticket)
    names.confirm(ticket)
    assert names.prepared("p") == ()


def test_relations_add_up_until_they_are_certainly_gone() -> None:
    names = confirmed(RelationCreated(TEMPORARY))
    assert names.relations("pg_temp", "t") == (TEMPORARY,)
    other = SessionRelation("pg_temp", "t", None)
    names.confirm(names.stage((RelationCreated(other),)))
    assert names.relations("pg_temp", "t") == (TEMPORARY, other)
    names.confirm(names.stage((RelationDropped(None, "t"),)))
    assert names.relations("pg_temp", "t") == (TEMPORARY, other), "the transaction may yet roll back"
    names.transaction_ended(committed=False)
    assert names.relations("pg_temp", "t") == (TEMPORARY, other)
    names.confirm(names.stage((RelationDropped("pg_temp", "t"),)))
    names.transaction_ended(committed=True)
    assert names.relations("pg_temp", "t") == ()
    assert not names.has_objects


def test_a_relation_created_again_in_the_transaction_stays() -> None:
    names = confirmed(RelationCreated(TEMPORARY), RelationDropped(None, "t"), RelationCreated(TEMPORARY))
    names.transaction_ended(committed=True)
    assert names.relations("pg_temp", "t") == (TEMPORARY,)


def test_discarding_temporary_relations() -> None:
    names = confirmed(RelationCreated(TEMPORARY), RelationCreated(SessionRelation("public", "n", None)))
    names.confirm(names.stage((TemporaryDiscarded(),)))
    assert names.relations("pg_temp", "t") == ()
    assert names.relations("public", "n") != ()


def test_a_fresh_catalogue_knows_what_was_created() -> None:
    names = confirmed(
        RelationCreated(TEMPORARY), RelationCreated(SessionRelation("public", "n", None)), DefinitionsChanged(code=True)
    )
    names.catalog_refreshed()
    assert names.relations("public", "n") == ()
    assert names.relations("pg_temp", "t") == (TEMPORARY,)
    assert names.definitions_changed == DefinitionsChanged()


def test_pending_definitions_count() -> None:
    names = SessionNames()
    ticket = names.stage((DefinitionsChanged(code=True), DefinitionsChanged(renamed=True)))
    assert names.definitions_changed == DefinitionsChanged(code=True, renamed=True)
    assert names.has_objects
    names.discard(ticket)
    assert names.definitions_changed == DefinitionsChanged()
    assert not names.has_objects


def test_including_leaves_the_original_alone() -> None:
    names = confirmed(Prepared("p", ONE))
    copy = names.including((Prepared("p", OTHER),))
    assert copy.prepared("p") == (ONE, OTHER)
    assert names.prepared("p") == (ONE,)
