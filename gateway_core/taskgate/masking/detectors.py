"""What can be found in free text: a pattern for the gate and for the candidates, and what confirms a candidate.

Patterns are RE2 over bytes (Latin-1, so that bytes above 0x7F are characters of no class named here), and mean the same
to Python's `re`. They never match NUL, which stands between cells, and have no boundary of their own where a validator
looks at the neighbours: `x4111111111111111` and `_4111111111111111` are found as well.

Not found, by nature: values written out in words, base64, percent- or HTML-encoded, split over cells, or numbers
without the separators that tell them from any other number (an SSN or a phone number as nine or ten bare digits). Masks
of columns are the means against those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from taskgate.masking import validators
from taskgate.masking.validators import Span
from taskgate.speed import CARD, IBAN, SSN


@dataclass(frozen=True, slots=True)
class Detector:
    """`pattern` finds candidates; `confirm` gives the value's span or None (without one every candidate counts).

    `literal`: bytes that every candidate contains, so that most values are passed over at once. `column_name`: too weak
    to be searched for; it masks whole columns whose name contains this. For the sieve (`taskgate.speed`), what tells
    most cells without a value: `marks`, bytes of which every candidate contains one, or `number`, a shape it knows.
    With neither, every cell is searched."""

    name: str
    pattern: bytes
    confirm: Callable[[bytes, int, int], Span | None] | None = None
    literal: bytes = b""
    column_name: str | None = None
    marks: bytes = b""
    number: int = 0


_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_H16 = rb"[0-9A-Fa-f]{1,4}"
_DOTTED = _OCTET + rb"(?:\." + _OCTET + rb"){3}"
_GROUPS = _H16 + rb"(?::" + _H16 + rb"){0,6}"
_COUNTRIES = "|".join(validators.IBAN_COUNTRIES).encode()

_ALL = (
    # Beyond ASCII too (RFC 6531), which takes letters around an address that are not part of it in scripts without
    # spaces. No character that structures an array, a row or a JSON document.
    Detector(
        "email",
        rb"[A-Za-z0-9_\x80-\xff][A-Za-z0-9._%+'&#!*~\-\x80-\xff]*@(?:[A-Za-z0-9\x80-\xff][A-Za-z0-9\-\x80-\xff]*\.)+"
        rb"(?:[Xx][Nn]--[A-Za-z0-9\-]+|[A-Za-z\x80-\xff]{2,})",
        literal=b"@",
        marks=b"@",
    ),
    Detector("credit_card", rb"[2-6](?:[ \-]{0,3}[0-9]){11,18}", validators.credit_card, number=CARD),
    Detector("us_ssn", rb"[0-8][0-9]{2}[ \-][0-9]{2}[ \-][0-9]{4}", validators.us_ssn, number=SSN),
    Detector(
        "iban",
        rb"(?i)\b(?:" + _COUNTRIES + rb")[0-9]{2}(?:[ \-]?[A-Z0-9]){11,30}",
        validators.iban,
        number=IBAN,
    ),
    Detector(
        "phone",
        rb"\+[1-9](?:[ .()/\-]{0,2}[0-9]){7,14}"
        rb"|(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}",
        validators.phone,
        marks=b"+ .-",
    ),
    Detector("ipv4", _DOTTED, validators.ipv4, literal=b".", marks=b"."),
    Detector(
        "ipv6",
        rb"(?:" + _H16 + rb":){6}(?:" + _H16 + rb":" + _H16 + rb"|" + _DOTTED + rb")"
        rb"|(?:" + _GROUPS + rb")?::(?:" + _GROUPS + rb"(?:\." + _OCTET + rb"){0,3})?",
        validators.ipv6,
        literal=b":",
        marks=b":",
    ),
    Detector(
        "mac",
        rb"[0-9A-Fa-f]{2}(?:[:\-][0-9A-Fa-f]{2}){5}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}",
        validators.mac,
        marks=b":-.",
    ),
    Detector(
        "jwt",
        rb"eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*",
        validators.jwt,
        literal=b"eyJ",
        marks=b"J",
    ),
    Detector("aws_access_key", rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", validators.token, literal=b"A", marks=b"A"),
    Detector(
        "private_key",
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----",
        validators.private_key,
        literal=b"-----BEGIN ",
        marks=b"B",
    ),
    Detector("github_token", rb"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}", literal=b"gh", marks=b"_"),
    Detector(
        "url_credentials",
        rb"[A-Za-z][A-Za-z0-9+.\-]*://[^\t-\r \x00/?#@:]*:[^\t-\r \x00@]+@",
        validators.url_credentials,
        literal=b"://",
        marks=b":",
    ),
    Detector(
        "nino",
        rb"(?i)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        validators.nino,
        marks=b"0123456789",
    ),
    Detector("passport", b"", column_name="passport"),
)

DETECTORS: Mapping[str, Detector] = MappingProxyType({detector.name: detector for detector in _ALL})
NAMES = frozenset(DETECTORS)
