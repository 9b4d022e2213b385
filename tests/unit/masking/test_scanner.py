from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.scanner import MOST_CANDIDATES, Allowance, Scanner
from taskgate.speed import JSON, JSONB, TEXT


def scanner(**kinds: MaskKind) -> Scanner:
    return Scanner({name: MaskRule(name, kind) for name, kind in kinds.items()}, b"key")


REDACT = scanner(email=MaskKind.REDACT, credit_card=MaskKind.REDACT)


def test_nothing_found_is_the_same_object() -> None:
    cell = b"nothing to see"
    assert REDACT.replace(cell) == (cell, [])
    assert REDACT.replace(cell)[0] is cell


def test_only_the_part_found_is_replaced() -> None:
    replaced, rules = REDACT.replace("to bob@example.com – now".encode())
    assert replaced == "to [redacted] – now".encode()
    assert [rule.id for rule in rules] == ["email"]


def test_a_type_without_room_becomes_null() -> None:
    assert REDACT.replace(b"4111111111111111", TEXT, carries=False)[0] is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (MaskKind.PARTIAL, b"card ****1111!"),
        (MaskKind.NULL, None),
        (MaskKind.REDACT, b"card [redacted]!"),
    ],
)
def test_each_mask_on_a_finding(kind: MaskKind, expected: bytes | None) -> None:
    assert scanner(credit_card=kind).replace(b"card 4111 1111 1111 1111!")[0] == expected


def test_a_hash_is_of_the_value_as_it_reads() -> None:
    hashing = scanner(credit_card=MaskKind.HASH)
    assert hashing.replace("４111111111111111".encode())[0] == hashing.replace(b"4111111111111111")[0]


def test_overlapping_findings_get_the_strictest_mask() -> None:
    both = scanner(email=MaskKind.PARTIAL, url_credentials=MaskKind.REDACT)
    replaced, rules = both.replace(b"ftp://bob:pw@example.com")
    assert replaced is not None
    assert b"bob" not in replaced
    assert b"pw" not in replaced
    assert {rule.id for rule in rules} == {"url_credentials"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"a": "bob@example.com"}', '{"a": "[redacted]"}'),
        ('{"a": 4111111111111111}', '{"a": "[redacted]"}'),
        ('{"a": -4111111111111111.0, "b": 1}', '{"a": "[redacted]", "b": 1}'),
        (r'{"a": "\u0062ob\u0040example.com"}', '{"a": "[redacted]"}'),
        (r'{"a": "x\n4111111111111111"}', r'{"a": "x\n[redacted]"}'),
        (r'{"a": "\"bob@example.com\""}', r'{"a": "\"[redacted]\""}'),
        ('{"bob@example.com": 1}', '{"[redacted]": 1}'),
        ('["a@b.co", ["c@d.co"]]', '["[redacted]", ["[redacted]"]]'),
        ('{"a": "\\\\", "b": "c@d.co"}', '{"a": "\\\\", "b": "[redacted]"}'),
    ],
)
def test_json_stays_json(document: str, expected: str) -> None:
    replaced, _ = REDACT.replace(document.encode(), JSON)
    assert replaced == expected.encode()
    json.loads(replaced)
    assert REDACT.replace(b"\x01" + document.encode(), JSONB)[0] == b"\x01" + expected.encode()


def test_a_finding_across_json_strings_makes_it_null() -> None:
    document = b'["4111 1111", 1] 4111 1111 1111 1111'
    assert REDACT.replace(document, JSON)[0] is None


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.text(max_size=8),
        st.sampled_from(["bob@example.com", 4111111111111111, "4111 1111 1111 1111"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.booleans())
def test_any_json_stays_json_and_loses_the_values(value: object, ascii_only: bool) -> None:
    replaced, _ = REDACT.replace(json.dumps(value, ensure_ascii=ascii_only).encode(), JSON)
    if replaced is not None:
        left = json.dumps(json.loads(replaced))
        assert "bob@example.com" not in left
        assert "4111" not in left


def test_a_value_full_of_candidates_is_masked_whole_and_soon() -> None:
    began = time.perf_counter()
    replaced, rules = REDACT.replace(b"a@b.co " * (MOST_CANDIDATES + 10))
    assert replaced is None
    assert rules
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "unit", [b"4", b"4 ", b"a@", b"+1 ", b"1.", b"::", b"eyJ", b"-----BEGIN ", b"x://:", b"DE12 ", b"\\u"]
)
def test_no_input_is_slow(unit: bytes) -> None:
    """Linear work a byte, whatever the bytes are: a second for a megabyte would block every session."""
    everything = scanner(
        email=MaskKind.REDACT, credit_card=MaskKind.REDACT, iban=MaskKind.REDACT, phone=MaskKind.REDACT,
        ipv4=MaskKind.REDACT, ipv6=MaskKind.REDACT, jwt=MaskKind.REDACT, private_key=MaskKind.REDACT,
        url_credentials=MaskKind.REDACT,
    )  # fmt: skip
    small, large = unit * (20_000 // len(unit)), unit * (400_000 // len(unit))
    everything.replace(small)
    began = time.perf_counter()
    everything.replace(large)
    assert time.perf_counter() - began < 4


def test_hits_are_one_a_cell_and_ascending() -> None:
    joined = b"none\0a@b.co c@d.co\0none\0e@f.co\0"
    assert REDACT.hits(joined) == [5, 24]
    assert REDACT.hits(b"") == []


def test_an_unknown_detector_is_an_error() -> None:
    with pytest.raises(KeyError):
        scanner(shoe_size=MaskKind.REDACT)


def test_detectors_that_go_by_name_search_nothing() -> None:
    assert not scanner(passport=MaskKind.NULL).searches
    assert scanner(passport=MaskKind.NULL).hits(b"X1234567\0") == []


@pytest.mark.parametrize("value", [b"4111 1111 1111 1112 " * 200_000, b"4" * 5_000_000, b"4 " * 500_000])
def test_almost_cards_without_end_are_masked_whole_and_soon(value: bytes) -> None:
    """CPU time, not the clock: the machine may be busy. Ten times what a quiet one takes."""
    cards = scanner(credit_card=MaskKind.REDACT)
    started = time.process_time()
    (first,) = cards.hits(value)
    assert first == 0
    replaced, rules = cards.replace(value)
    assert time.process_time() - started < 2
    assert (replaced, rules) == (None, [MaskRule("credit_card", MaskKind.REDACT)])


def test_values_of_one_batch_share_an_allowance() -> None:
    cards = scanner(credit_card=MaskKind.REDACT)
    allowance = Allowance(1000)
    almost = b"4111 1111 1111 1112 " * 50
    seen = [cards.replace(almost, allowance=allowance)[0] for _ in range(20)]
    assert seen[0] == almost, "nothing in it is a card"
    assert seen[-1] is None, "nobody looked any more"
    assert cards.replace(b"1234123412341234", allowance=allowance)[0] == b"1234123412341234", (
        "a few are always looked at"
    )
    assert cards.replace(b"4111111111111111", allowance=allowance)[0] == b"[redacted]"


@given(st.binary(max_size=200))
def test_clean_means_that_nothing_is_found(text: bytes) -> None:
    assert REDACT.clean(text) is (text.isascii() and not REDACT.replace(text)[1])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b"4111 1111 1111 1112", True),
        (b"4111 1111 1111 1111", False),
        (b"x" * 500, True),
        (b"x" * 500 + b" bob@example.com", False),
        (rb"C:\temp", True),
        (rb"bob\u0040example.com", False),
        ("é".encode(), False),
    ],
)
def test_what_is_clean(text: bytes, clean: bool) -> None:
    assert REDACT.clean(text) is clean
