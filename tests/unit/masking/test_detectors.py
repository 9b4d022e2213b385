"""Precision and recall on the generated corpus, and the traps one by one."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.detectors import DETECTORS, NAMES
from taskgate.masking.scanner import Scanner
from taskgate.masking.validators import IBAN_COUNTRIES, IBAN_LENGTHS
from taskgate.speed import TEXT, Sieve, views
from tests.unit.masking.corpus import NEGATIVE, POSITIVE, samples

ALL = Scanner({name: MaskRule(name, MaskKind.REDACT) for name in NAMES}, b"key")


def only(name: str) -> Scanner:
    return Scanner({name: MaskRule(name, MaskKind.REDACT)}, b"key")


def test_precision_and_recall() -> None:
    """Check digits cannot tell a random number from a card: about one 16-digit id in 30 counts against precision."""
    found = missed = false = 0
    fooled: Counter[str] = Counter()
    for sample in samples(24_000):
        scrubbed = ALL.scrub(sample.text)
        if sample.value is None:
            false += scrubbed != sample.text
            fooled[sample.kind] += scrubbed != sample.text
        elif scrubbed == sample.text or sample.value in scrubbed:
            missed += 1
        else:
            found += 1
    assert missed == 0, f"recall {found / (found + missed):.4f}"
    assert found / (found + false) >= 0.985, fooled
    assert set(+fooled) <= {"16-digit id", "uuid", "hash", "coordinates"}


@pytest.mark.parametrize("kind", sorted(POSITIVE))
def test_each_detector_finds_its_own_wherever_it_stands(kind: str) -> None:
    scanner = only(kind)
    for sample in samples(3000, seed=11):
        if sample.kind == kind and sample.value is not None:
            for text in (sample.value, f"({sample.value})", f'"{sample.value}"', f"a {sample.value},b"):
                scrubbed = scanner.scrub(text)
                assert "[redacted]" in scrubbed, text
                assert sample.value not in scrubbed


@pytest.mark.parametrize("kind", sorted(set(NEGATIVE) - {"16-digit id", "uuid", "hash", "coordinates"}))
def test_negatives_pass_untouched(kind: str) -> None:
    for sample in samples(4000, seed=13):
        if sample.kind == kind:
            assert ALL.scrub(sample.text) == sample.text


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111-1111 1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111–1111–1111–1111",
        "4111‑1111‑1111‑1111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111 - 1111 - 1111 - 1111",
        "41\u200b11111111111111",
        "4111\u00ad111111111111",
        "4\u20601111\ufeff11111111111",
        "４１１１１１１１１１１１１１１１",
        "٤١١١١١١١١١١١١١١١",
        "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏",
        "id_4111111111111111",
        "x4111111111111111y",
        "é4111111111111111é",
        "12 4111111111111111",
        "99 4111 1111 1111 1111 22",
        r"{\"n\":\"\n4111111111111111\"}",
        r"\u0034111111111111111",
        "4111111111111111.00",
    ],
)
def test_disguised_cards_are_found(text: str) -> None:
    scrubbed = only("credit_card").scrub(text)
    assert "[redacted]" in scrubbed
    assert sum(character.isdigit() for character in scrubbed) <= 4


@pytest.mark.parametrize(
    "text",
    ["0.4111111111111111", "41111111111111111111111", "4111111111111112", "9111111111111111", "2024-01-01 2024-01-02"],
)
def test_numbers_that_are_no_card(text: str) -> None:
    assert only("credit_card").scrub(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\bob@example.com", "\\[redacted]"),  # the escape's letter belongs to the address
        (r"{'a': 'bob@example.com'}", "{'a': '[redacted]'}"),
        ("bob\u200b@example.com", "[redacted]"),
        ("bob＠example．com", "[redacted]"),
        ("<bob@example.com>", "<[redacted]>"),
        ("mailto:bob@example.com?subject=x", "mailto:[redacted]?subject=x"),
        (r"bob\u0040example.com", "[redacted]"),
        ("a@b.co c@d.co", "[redacted] [redacted]"),
        ("{a@b.co,c@d.co}", "{[redacted],[redacted]}"),
    ],
)
def test_addresses_in_context(text: str, expected: str) -> None:
    assert only("email").scrub(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:p@h/db", "postgres://[redacted]@h/db"),
        ("postgres://u:p@ss@h/db", "postgres://[redacted]@h/db"),
        ("redis://:secret@h", "redis://[redacted]@h"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("{http://h:80,bob@x}", "{http://h:80,bob@x}"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_credentials_in_urls(text: str, expected: str) -> None:
    assert only("url_credentials").scrub(text) == expected


def test_two_ibans_in_a_row() -> None:
    text = "DE89370400440532013000 GB82WEST12345698765432"
    assert only("iban").scrub(text) == "[redacted] [redacted]"
    assert only("iban").scrub("DE89 3704 0044 0532 0130 00 please") == "[redacted] please"


def test_a_private_key_without_its_end_goes_to_the_end() -> None:
    assert only("private_key").scrub("a -----BEGIN PRIVATE KEY-----\nMII…") == "a [redacted]"


def test_longer_dotted_numbers_are_no_address() -> None:
    assert only("ipv4").scrub("1.2.3.4.5 256.1.1.1") == "1.2.3.4.5 256.1.1.1"


@pytest.mark.parametrize("name", sorted(name for name in NAMES if DETECTORS[name].column_name is None))
def test_patterns_never_match_nul(name: str) -> None:
    """A match that crossed cells would hide the values it swallows."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    pattern = re2.compile(DETECTORS[name].pattern, options)
    values = [sample.value.encode() for sample in samples(3000, seed=17) if sample.kind == name and sample.value]
    assert values
    for value in values:
        for at in range(len(value) + 1):
            for match in pattern.finditer(value[:at] + b"\0" + value[at:]):
                assert b"\0" not in match.group()


fragments = st.lists(
    st.one_of(
        st.sampled_from(
            ["bob@", "example.com", "@", ".", "-", " ", "4111", "1111 1111", "123-45-6789", "DE89", "fe80::1", "::",
             ":", "aa:bb:cc:dd:ee:ff", "+49", "(212) 555-0123", "eyJhbGciOiJub25lIn0.e30.", "AKIA", "A" * 16, "ghp_",
             "b" * 36, "://u:p@h", "-----BEGIN ", "PRIVATE KEY-----", "AB123456C", "10.1.2.3", "é", "\v", "\n", "_"]
        ),
        st.text(max_size=4),
    ),
    max_size=10,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name in NAMES if DETECTORS[name].column_name is None))
@given(parts=fragments)
def test_both_engines_find_the_same(name: str, parts: list[str]) -> None:
    """Short cells are searched by Python's `re`, long ones and the gate by RE2."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    detector = DETECTORS[name]
    text = "".join(parts).encode()
    for at in (0, len(text) // 2):
        plain = re.compile(detector.pattern).search(text, at)
        linear = re2.compile(detector.pattern, options).search(text, at)
        assert (plain and plain.span()) == (linear and linear.span())
        assert plain is None or detector.literal in plain.group()


@given(parts=fragments, length=st.sampled_from([0, 130]))
def test_whatever_is_replaced_was_hit_by_the_gate(parts: list[str], length: int) -> None:
    cell = ("".join(parts).replace("\0", "") + "." * length).encode()
    replaced, rules = ALL.replace(cell)
    assert (replaced != cell) is bool(rules)
    if rules:
        assert any(ALL.hits(view) for view, _ in views(cell, TEXT))


FOUR = Scanner({name: MaskRule(name, MaskKind.REDACT) for name in ("email", "credit_card", "us_ssn", "iban")}, b"key")


@pytest.mark.parametrize("name", sorted(name for name in NAMES if DETECTORS[name].column_name is None))
@given(data=st.data(), parts=fragments)
@settings(max_examples=300)
def test_the_sieve_holds_back_nothing_that_is_found(name: str, data: st.DataObject, parts: list[str]) -> None:
    """Alone, where its own marks and shapes decide."""
    scanner = only(name)
    candidate = data.draw(st.just(b"") | st.from_regex(re.compile(DETECTORS[name].pattern)))
    at = data.draw(st.integers(0, len(parts)))
    cell = "".join(parts[:at]).encode() + candidate + "".join(parts[at:]).encode()
    if scanner.find(cell):
        assert any(scanner.sieve.passes(view) for view, _ in views(cell, TEXT))
    detector = DETECTORS[name]
    if detector.marks and re.search(detector.pattern, candidate):
        assert Sieve(detector.number, detector.marks, {}).passes(candidate)


def test_the_sieve_holds_back_nothing_of_the_corpus_and_most_of_the_rest() -> None:
    held_back = total = 0
    for sample in samples(24_000, seed=17):
        cell = sample.text.encode()
        passes = any(FOUR.sieve.passes(view) for view, _ in views(cell, TEXT))
        if FOUR.find(cell):
            assert passes, sample
        else:
            total += 1
            held_back += not passes
    assert held_back / total > 0.8


@given(digits=st.text(alphabet="0123456789 -", min_size=11, max_size=90))
@settings(max_examples=2000)
def test_the_sieve_holds_back_no_number(digits: str) -> None:
    if FOUR.find(digits.encode()):
        assert FOUR.sieve.passes(digits.encode())


@given(country=st.sampled_from(IBAN_COUNTRIES), rest=st.text(alphabet="0123456789AZ -", min_size=11, max_size=34))
@settings(max_examples=2000)
def test_the_sieve_holds_back_no_account(country: str, rest: str) -> None:
    """With the check digits that are right for it."""
    length = IBAN_LENGTHS[country]
    plain = re.sub("[ -]", "", rest)[: length - 4]
    checked = 98 - int("".join(str(int(letter, 36)) for letter in plain + country + "00")) % 97
    for cell in (f"{country}{checked:02}{rest}", f"to {country.lower()}{checked:02}{plain.lower()}, now"):
        if FOUR.find(cell.encode()):
            assert FOUR.sieve.passes(cell.encode())
