from __future__ import annotations

import pytest

from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.maskers import PLACEHOLDER, at_least_redacted, mask, partial, strictest

KEY = b"a key of the gateway"


def test_redact_and_null_say_nothing_about_the_value() -> None:
    assert {mask(MaskKind.REDACT, value, KEY) for value in (b"a", b"bb" * 99, b"")} == {PLACEHOLDER}
    assert mask(MaskKind.NULL, b"a", KEY) is None


def test_hash_keeps_equality_under_its_key_only() -> None:
    one = mask(MaskKind.HASH, b"123-45-6789", KEY)
    assert one == mask(MaskKind.HASH, b"123-45-6789", KEY)
    assert one != mask(MaskKind.HASH, b"123-45-6780", KEY)
    assert one != mask(MaskKind.HASH, b"123-45-6789", b"another")
    assert one is not None
    assert len(one) == 32
    assert set(one) <= set(b"0123456789abcdef")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("4111 1111 1111 1234", "****1234"),
        ("123-45-6789", "****6789"),
        ("bob@example.com", "****@example.com"),
        ("secret", "****ret"),
        ("abc", "****c"),
        ("a", "****"),
        ("", "****"),
        ("--", "****"),
        ("Zoë Größe", "****röße"),
        ("two@at@signs.org", "****sorg"),
        ("no domain@here", "****here"),
    ],
)
def test_partial(value: str, shown: str) -> None:
    assert partial(value.encode()).decode() == shown


def test_partial_never_shows_more_than_half_of_the_letters() -> None:
    for length in range(12):
        value = "abcdefghijkl"[:length]
        assert len(partial(value.encode()).decode().strip("*")) <= length / 2


def test_partial_of_what_is_no_text_is_redacted() -> None:
    assert partial(b"\xff\xfe1234567890") == PLACEHOLDER


def test_strictest() -> None:
    rules = [MaskRule(kind.value, kind) for kind in MaskKind]
    assert strictest(*rules) == MaskRule("null", MaskKind.NULL)
    assert strictest(None, rules[1], None) is rules[1]
    assert strictest(None) is None
    first, second = MaskRule("a", MaskKind.REDACT), MaskRule("b", MaskKind.REDACT)
    assert strictest(first, second) is first


def test_derived_values_are_at_least_redacted() -> None:
    assert at_least_redacted(MaskRule("m", MaskKind.PARTIAL, predicates=True)).kind is MaskKind.REDACT
    assert at_least_redacted(MaskRule("m", MaskKind.HASH)).kind is MaskKind.REDACT
    assert at_least_redacted(MaskRule("m", MaskKind.NULL)).kind is MaskKind.NULL
