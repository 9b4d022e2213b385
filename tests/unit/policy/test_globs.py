import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.policy.globs import GlobSet, is_literal, matcher, names_everything


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("public.orders", "public.orders", True),
        ("public.orders", "public.orders2", False),
        ("public.*", "public.orders", True),
        ("public.*", "public.", True),
        ("public.*", "publicXorders", False),
        ("*.ssn", "public.people.ssn", True),
        ("*.ssn", "ssn", False),
        ("*-db", "orders-db", True),
        ("*order*", "public.orders", True),
        ("*order*", "public.customers", False),
        ("*", "", True),
        ("*", "a.b.c", True),
        ("?", "a", True),
        ("?", "", False),
        ("a?c", "abc", True),
        ("a*b*c", "a.x.b.y.c", True),
        ("a*b*c", "a.x.c", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        ("public.*", "public.x\ny", True),
        ("x", "X", False),
    ],
)
def test_globs(pattern: str, name: str, matches: bool) -> None:
    assert matcher(pattern)(name) is matches
    assert GlobSet([pattern]).matches(name) is matches


@given(st.text("ab.*?", max_size=8), st.text("ab.", max_size=8))
def test_agrees_with_fnmatch_where_that_has_no_brackets(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) is fnmatch.fnmatchcase(name, pattern)


def test_many_stars_stay_fast() -> None:
    start = time.perf_counter()
    assert not matcher("*a*a*a*a*b?")("a" * 200)
    assert not matcher("*" * 200 + "?b")("a" * 2000)
    assert not matcher("*a?a" * 40 + "*b")("a" * 2000)
    assert time.perf_counter() - start < 1


def test_what_names_nothing_in_particular() -> None:
    assert all(map(names_everything, ("*", "*.*", "?*", "**")))
    assert not any(map(names_everything, ("public.*", "*a", "x")))
    assert [is_literal("a.b"), is_literal("a?")] == [True, False]


def test_a_set_matches_what_any_of_its_patterns_matches() -> None:
    globs = GlobSet(["a", "b*", "a"])
    assert globs.patterns == ("a", "b*")
    assert [globs.matches(name) for name in ("a", "bc", "c")] == [True, True, False]
    assert [globs.everything, GlobSet(["a", "*"]).everything] == [False, True]
    assert {globs} == {GlobSet(["a", "b*"])}
