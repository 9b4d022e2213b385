from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.visible import is_plain, is_shown, name, point, warnings


@pytest.mark.parametrize("char", "aZ0 ~'\"`")
def test_plain(char: str) -> None:
    assert is_plain(char)
    assert is_shown(char)


@pytest.mark.parametrize("char", "éоλ中€√“")
def test_seen_but_not_plain(char: str) -> None:
    assert is_shown(char)
    assert not is_plain(char)


@pytest.mark.parametrize(
    "char", "\n\t\r\x00\x1b\x7f\x85\u00a0\u115f\u2003\u200b\u2028\u202e\u2066\u2800\u3000\u3164\ufeff\ud800"
)
def test_not_seen(char: str) -> None:
    assert not is_shown(char)
    assert not is_plain(char)


@given(st.characters())
def test_nothing_that_controls_is_shown(char: str) -> None:
    if unicodedata.category(char) in {"Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Lm"}:
        assert not is_shown(char)


@pytest.mark.parametrize(
    ("char", "named"),
    [
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\x1b", "U+001B CONTROL"),
        ("\ud800", "U+D800 SURROGATE"),
        ("\ue000", "U+E000 PRIVATE USE"),
        ("\U000e0001", "U+E0001 LANGUAGE TAG"),
        ("\u0378", "U+0378"),
    ],
)
def test_names(char: str, named: str) -> None:
    assert name(char) == named
    assert named.startswith(point(char))


def test_a_reader_is_warned() -> None:
    assert list(warnings("SELECT 1\n\t")) == []
    hidden, foreign = warnings("оrders\u202e")  # a Cyrillic о
    assert "U+202E RIGHT-TO-LEFT OVERRIDE" in hidden
    assert foreign.endswith("о")


def test_warnings_are_short() -> None:
    hidden, foreign = warnings("".join(map(chr, (*range(0x2000, 0x2010), *range(0x400, 0x450)))))
    assert hidden.endswith(" …")
    assert len(hidden) < 300
    assert len(foreign) < 150
