"""Views: masks reach through them, their predicates are their owner's, their code counts."""

from __future__ import annotations

from tests.unit.sql.catalogs import CATALOG, facts, outputs, outside, pairs


def test_the_pair_is_the_view_and_the_sources_are_the_tables() -> None:
    assert pairs("select tax from v_deep") == ["select public.v_deep"]
    assert outputs("select tax from v_deep") == [("tax", ["users.ssn", "v_deep.tax", "v_plain.tax"], True)]
    assert outputs("select ssn from m_plain") == [("ssn", ["m_plain.ssn", "users.ssn"], True)]


def test_what_a_view_computes_is_not_bare() -> None:
    assert outputs("select shout from v_computed") == [("shout", ["users.ssn", "v_computed.shout"], False)]
    assert outside("select shout from v_computed") == ["users.ssn", "v_computed.shout"]
    assert outside("select id from v_computed") == []


def test_a_view_reads_more_than_it_shows() -> None:
    found = facts("select id from v_filtered")
    assert "public.users.ssn" in found.columns_read
    assert found.columns_outside_output == frozenset()


def test_a_view_that_calls_code() -> None:
    found = facts("select x from v_calls")
    assert "call public.secret" in pairs("select x from v_calls")
    assert not found.complete


def test_a_view_that_cannot_be_analysed_taints_everything() -> None:
    found = facts("select x from v_broken")
    assert not found.complete
    assert "public.users.ssn" in found.columns_outside_output


def test_carriers() -> None:
    assert set(CATALOG.view_lineage.carriers("public.v_plain.tax")) >= {"public.v_deep.tax"}
