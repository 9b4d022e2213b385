"""Skeletons: narrow, and safe to share facts by."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.errors import TaskgateError
from taskgate.sql.literals import skeleton
from taskgate.sql.postgres import analyze
from tests.unit.sql.catalogs import CATALOG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from t where id = 123", "select * from t where id = 0"),
        ("select * from t where id=123", "select * from t where id=0"),
        ("select f(1, 22,333)", "select f(0, 0,0)"),
        ("select * from t1 where c2 = 3", "select * from t1 where c2 = 0"),
        ("select 1.5, 1e5, 0x1f, 1_000, a1", "select 1.5, 1e5, 0x1f, 1_000, a1"),
        ("select -5", "select -5"),
        ("select a[1]", "select a[1]"),
    ],
)
def test_skeleton(text: str, expected: str) -> None:
    assert skeleton(text) == expected


@pytest.mark.parametrize(
    "text",
    ["select '1'", 'select "a1"', "select $1", "select $$1$$", "select E'\\1'", "select 1 -- 2", "select /* 1 */ 2",
     "select 1; select 2", "select é", "select `1`", "select 1" + " " * 5_000, "select 1\0", "select\u00a01"],
)  # fmt: skip
def test_no_skeleton(text: str) -> None:
    assert skeleton(text) is None


_PIECES = st.sampled_from(
    "from where users orders u id ssn total , ( ) = * as and or not in on join order by group limit offset insert "
    "into values update set delete returning union all having distinct x1 count(1) 1 2 3 17 0 4000000000 between is null "
    "case when then else end with ( select ) for".split()
)


@given(st.lists(_PIECES, min_size=2, max_size=16), st.lists(st.integers(0, 10**17), min_size=20, max_size=20))
@settings(max_examples=400, deadline=None)
def test_equal_skeletons_have_equal_facts(pieces: list[str], numbers: list[int]) -> None:
    text = " ".join(["select", *pieces])
    supply = iter(numbers)
    other = " ".join(["select", *(str(next(supply)) if piece.isdigit() else piece for piece in pieces)])
    assert skeleton(text) == skeleton(other) is not None
    try:
        found = analyze(text, CATALOG, ("public",))
    except TaskgateError:
        return
    if not any(facts.literal_sensitive for facts in found):
        assert analyze(other, CATALOG, ("public",)) == found


_TEMPLATES = [
    "select id, {} as a from users where id = {} or id in ({}, {}) limit {}",
    "select ssn from users order by {}",
    "select ssn, id from users group by {}, {}",
    "select distinct on ({}) ssn from users",
    "insert into orders values ({}, {}, {}),({},{},{}) returning id",
    "update users set name = {} where id = {} returning *",
    "delete from users where id = {}",
    "select sum(total) over (order by id rows between {} preceding and {} following) from orders",
    "select substring(ssn from {} for {}) from users",
    "select count(*) from users group by rollup ({}, id) having count(*) > {}",
    "select * from generate_series({}, {}) g where g > {}",
    "explain select ssn from users where id = {}",
    "select id from users union all select id from orders order by {}",
]


@given(st.sampled_from(_TEMPLATES), st.lists(st.integers(0, 12), min_size=12, max_size=12))
@settings(max_examples=300, deadline=None)
def test_templates(template: str, numbers: list[int]) -> None:
    text, other = template.format(*numbers[:6]), template.format(*numbers[6:])
    assert skeleton(text) == skeleton(other)
    (one,) = analyze(text, CATALOG, ("public",))
    if not one.literal_sensitive:
        assert analyze(other, CATALOG, ("public",)) == (one,)
