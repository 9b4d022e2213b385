from __future__ import annotations

import pytest

from taskgate.masking import validators


@pytest.mark.parametrize("number", [b"4111111111111111", b"378282246310005", b"6011111111111117", b"5555555555554444"])
def test_luhn_and_issuer(number: bytes) -> None:
    assert validators.luhn(number)
    assert validators.issued(number)
    changed = number[:-1] + bytes([48 + (number[-1] - 48 + 1) % 10])
    assert not validators.luhn(changed)


@pytest.mark.parametrize("number", [b"1111111111111117", b"41111111111111", b"9999999999999995"])
def test_nobody_issues_these(number: bytes) -> None:
    assert not validators.issued(number)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (b"123-45-6789", True),
        (b"000-45-6789", False),
        (b"666-45-6789", False),
        (b"923-45-6789", False),
        (b"123-00-6789", False),
        (b"123-45-0000", False),
    ],
)
def test_us_ssn(text: bytes, good: bool) -> None:
    assert (validators.us_ssn(text, 0, len(text)) is not None) is good


def test_an_ssn_inside_a_longer_number_is_none() -> None:
    assert validators.us_ssn(b"9123-45-6789", 1, 12) is None
    assert validators.us_ssn(b"123-45-67890", 0, 11) is None
    assert validators.us_ssn(b"1-123-45-6789", 2, 13) is None
    assert validators.us_ssn(b"123-45-6789-1", 0, 11) is None


@pytest.mark.parametrize(
    "text",
    [b"GB82WEST12345698765432", b"gb82 west 1234 5698 7654 32", b"NO9386011117947", b"MT84MALT011000012345MTLCAST001S"],
)  # fmt: skip
def test_iban(text: bytes) -> None:
    assert validators.iban(text, 0, len(text)) == (0, len(text))
    assert validators.iban(text[:-1] + b"9", 0, len(text)) is None
    assert validators.iban(b"ZZ" + text[2:], 0, len(text)) is None


@pytest.mark.parametrize(("text", "good"), [(b"fe80::1:2", True), (b"::1", False), (b"1:2:3:4:5:6:7:8", True)])
def test_ipv6(text: bytes, good: bool) -> None:
    assert (validators.ipv6(text, 0, len(text)) is not None) is good


def test_mac_wants_one_separator() -> None:
    assert validators.mac(b"aa:bb:cc:dd:ee:ff", 0, 17)
    assert validators.mac(b"aabb.ccdd.eeff", 0, 14)
    assert validators.mac(b"aa:bb-cc:dd-ee:ff", 0, 17) is None
    assert validators.mac(b"aa:bb:cc:dd:ee:ff:00", 0, 17) is None


def test_jwt_header_names_an_algorithm() -> None:
    good = b"eyJhbGciOiJub25lIn0.e30."
    assert validators.jwt(good, 0, len(good)) == (0, len(good))
    assert validators.jwt(b"eyJmb28iOiJiYXIifQ.e30.", 0, 23) is None
    assert validators.jwt(b"eyJ_____.x.y", 0, 12) is None
