"""analyze(): one Facts a statement, never an exception for what is not understood."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.errors import TaskgateError
from taskgate.sql import statements
from taskgate.sql.faults import StatementTooComplex, SyntaxFault
from taskgate.sql.names import SessionNames
from taskgate.sql.postgres import analyze
from tests.unit.sql.catalogs import CATALOG, facts, pairs


def test_one_facts_a_statement() -> None:
    found = analyze("select 1; delete from notes; ; commit", CATALOG, ("public",))
    assert [each.tag for each in found] == ["SELECT", "DELETE", "COMMIT"]


def test_an_empty_text_has_none() -> None:
    assert analyze("  ; -- nothing", CATALOG, ("public",)) == ()


def test_syntax_errors_are_raised() -> None:
    with pytest.raises(SyntaxFault):
        analyze("select from where", CATALOG, ("public",))


def test_a_later_statement_sees_names_of_an_earlier_one() -> None:
    found = analyze("prepare p as delete from orders; execute p", CATALOG, ("public",))
    assert [str(pair) for pair in found[1].pairs] == ["sql.delete public.orders"]
    assert found[1].session_objects


@pytest.mark.parametrize(
    "first",
    ["set search_path = audit", "set role x", "reset all", "discard all", "select set_config('search_path', '', true)",
     "do ''", "select secret(1)", "call archive(1)", "set session authorization x", "reset search_path"],
)  # fmt: skip
def test_names_are_uncertain_once_the_path_may_have_moved(first: str) -> None:
    """`SET search_path = audit; SELECT * FROM users` in one text reads another table than the path we know says."""
    found = analyze(f"{first}; select * from users; commit", CATALOG, ("public",))
    assert not found[1].complete
    assert found[2].complete
    assert analyze(f"select * from users; {first}", CATALOG, ("public",))[0].complete


def test_the_end_of_a_transaction_may_move_the_path_back() -> None:
    names = SessionNames()
    (moved,) = analyze("set local search_path = audit", CATALOG, ("public",), names)
    names.confirm(names.stage(moved.name_changes))
    assert not analyze("rollback; select * from users", CATALOG, ("audit",), names)[1].complete
    assert analyze("select * from users", CATALOG, ("audit",), names)[0].complete
    names.transaction_ended(committed=False)
    assert analyze("begin; select * from users", CATALOG, ("public",), names)[1].complete


def test_a_kind_of_statement_nobody_knows_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(statements.KINDS, "CheckPointStmt")
    found = facts("checkpoint")
    assert [pair.effect for pair in found.pairs] == ["sql.unknown"]
    assert not found.complete
    assert found.changes
    assert found.outputs is None


def test_a_tree_of_an_unexpected_form_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("relation")

    monkeypatch.setitem(statements.KINDS, "TruncateStmt", broken)
    found = facts("truncate users")
    assert [pair.effect for pair in found.pairs] == ["sql.unknown"]
    assert not found.complete


@pytest.mark.parametrize(
    "text",
    [
        "select " + "(select " * 300 + "1" + ")" * 300,
        "select " + "coalesce(" * 900 + "1" + ")" * 900,
        "select " + "upper(" * 450 + "'a'" + ")" * 450,
        "select * from " + "(select * from " * 240 + "users" + ") x" * 240,
    ],
)
def test_deep_nesting_is_refused_or_analysed_but_never_crashes(text: str) -> None:
    with contextlib.suppress(StatementTooComplex):
        analyze(text, CATALOG, ("public",))


def test_long_chains_are_analysed() -> None:
    assert facts("select id" + " + 1" * 400 + " from users").complete
    assert facts("select ssn from users" + " union all select ssn from users" * 300).complete


@pytest.mark.parametrize("text", ["select 1", "values (1)", "select now()"])
def test_a_select_of_no_relation_still_has_a_pair(text: str) -> None:
    assert pairs(text) == ["select"]


_WORDS = st.sampled_from(
    "select from where users orders u . , ( ) * = 1 'a' as join on using with recursive insert into values update set "
    "delete returning union all order by group having case when then end cast :: int array [ ] explain copy to stdout "
    "ssn id lateral exists in not null default merge matched prepare execute declare cursor for fetch create table "
    "temp view drop alter add column".split()
)


@given(st.lists(_WORDS, min_size=1, max_size=14))
@settings(max_examples=300, deadline=None)
def test_word_salad_raises_faults_only(words: list[str]) -> None:
    try:
        found = analyze(" ".join(words), CATALOG, ("public",))
    except TaskgateError:
        return
    assert all("unexpected form" not in note for each in found for note in each.notes)
    assert all(each.pairs for each in found)
