"""What confirms a candidate that a pattern found: check digits, issuers, assigned ranges.

Every function takes the text searched and the candidate's span and gives the span of the value in it, or None. What
stands next to a candidate is looked at here, since RE2 has no look-around.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

Span = tuple[int, int]

_DIGITS = frozenset(b"0123456789")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_DOT = 0x2E


def _before(text: bytes, at: int) -> int:
    return text[at - 1] if at else 0


def _at(text: bytes, at: int) -> int:
    return text[at] if at < len(text) else 0


def _stands_alone(text: bytes, start: int, end: int, neighbours: frozenset[int]) -> bool:
    return _before(text, start) not in neighbours and _at(text, end) not in neighbours


# --- payment cards ----------------------------------------------------------------------------------------------------

_ISSUERS = (  # prefix range, lengths (ISO/IEC 7812 ranges in use)
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (300, 305, (14, 16, 17, 18, 19)),  # Diners Club
    (309, 309, (14, 16, 17, 18, 19)),
    (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (644, 649, (16, 17, 18, 19)),
    (65, 65, (16, 17, 18, 19)),
    (622126, 622925, (16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (56, 58, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6304, 6304, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6759, 6763, (12, 13, 14, 15, 16, 17, 18, 19)),
)
_BY_FIRST_DIGIT = {digit: tuple(issuer for issuer in _ISSUERS if str(issuer[0])[0] == digit) for digit in "0123456789"}
_DOUBLED = bytes((digit * 2 if digit < 5 else digit * 2 - 9) for digit in range(10))
_DOUBLED_DIGITS = bytes(48) + _DOUBLED + bytes(198)
_ZERO = 48


def luhn(digits: bytes) -> bool:
    """The check digit of ISO/IEC 7812 over ASCII digits."""
    plain = digits[-1::-2]
    return (sum(plain) - _ZERO * len(plain) + sum(digits[-2::-2].translate(_DOUBLED_DIGITS))) % 10 == 0


def issued(digits: bytes) -> bool:
    """Some issuer gives out numbers with this beginning and of this length."""
    for low, high, lengths in _BY_FIRST_DIGIT[chr(digits[0])]:
        if len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high:
            return True
    return False


def credit_card(text: bytes, start: int, end: int) -> Span | None:
    """12 to 19 digits, together, in groups of three or more, or one by one; the longest the check digit confirms."""
    if _before(text, start) in _DIGITS:
        return None
    if _before(text, start) == _DOT and start > 1 and text[start - 2] in _DIGITS:
        return None  # the fraction of a number
    while _at(text, end) in _DIGITS and end - start <= 80:
        end += 1  # the pattern stops at 19: then this is no card but something longer
    if end - start > 80:
        return None
    if text[start:end].isdigit():
        return (start, end) if end - start <= 19 and luhn(text[start:end]) and issued(text[start:end]) else None
    groups = re.split(rb"[ -]+", text[start:end])
    for count in range(len(groups), 0, -1):
        chosen = groups[:count]
        digits = b"".join(chosen)
        if not 12 <= len(digits) <= 19:
            continue
        single = all(len(group) == 1 for group in chosen)
        if (single or all(len(group) >= 3 for group in chosen[:-1])) and luhn(digits) and issued(digits):
            return start, _behind_groups(text, start, chosen)
    return None


def _behind_groups(text: bytes, at: int, groups: list[bytes]) -> int:
    for group in groups:
        at = text.index(group, at) + len(group)
    return at


# --- numbers given to people ------------------------------------------------------------------------------------------


def us_ssn(text: bytes, start: int, end: int) -> Span | None:
    """Area not 000, 666 or 9xx, group not 00, serial not 0000 (SSA numbering rules)."""
    area, group, serial = text[start : start + 3], text[start + 4 : start + 6], text[start + 7 : end]
    if area in (b"000", b"666") or area[:1] == b"9" or group == b"00" or serial == b"0000":
        return None
    if not _stands_alone(text, start, end, _DIGITS):
        return None
    if _before(text, start) == 0x2D and start > 1 and text[start - 2] in _DIGITS:
        return None
    if _at(text, end) == 0x2D and _at(text, end + 1) in _DIGITS:
        return None
    return start, end


def nino(text: bytes, start: int, end: int) -> Span | None:
    """UK national insurance number: the prefixes that are never given out are none."""
    prefix = text[start : start + 2].upper()
    if prefix in (b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ"):
        return None
    return (start, end) if _stands_alone(text, start, end, _WORD) else None


def phone(text: bytes, start: int, end: int) -> Span | None:
    """Eight to 15 digits behind a plus sign (ITU-T E.164), or ten in North American groups."""
    digits = sum(byte in _DIGITS for byte in text[start:end])
    if text[start : start + 1] == b"+" and not 8 <= digits <= 15:
        return None
    if _before(text, start) in _WORD or _before(text, start) == _DOT or _at(text, end) in _DIGITS:
        return None
    if _at(text, end) == _DOT and _at(text, end + 1) in _DIGITS:
        return None
    return start, end


IBAN_LENGTHS = {  # ISO 13616 registry
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
IBAN_COUNTRIES = tuple(sorted(IBAN_LENGTHS))


def iban(text: bytes, start: int, end: int) -> Span | None:
    """As long as the country's are, mod 97 equal to 1 (ISO 7064). What follows behind that is not part of it."""
    length = IBAN_LENGTHS.get(text[start : start + 2].decode("ascii", "replace").upper())
    if length is None or _before(text, start) in _WORD:
        return None
    value = bytearray()
    at = start
    while at < end and len(value) < length:
        if text[at] in _WORD:
            value.append(text[at])
        at += 1
    if len(value) < length or _at(text, at) in _WORD:
        return None
    rearranged = bytes(value[4:] + value[:4]).decode().upper()
    return (start, at) if int("".join(str(int(letter, 36)) for letter in rearranged)) % 97 == 1 else None


# --- addresses --------------------------------------------------------------------------------------------------------


def ipv4(text: bytes, start: int, end: int) -> Span | None:
    """Four numbers up to 255 that are not part of a longer dotted number."""
    if not _stands_alone(text, start, end, _DIGITS):
        return None
    if _before(text, start) == _DOT or (_at(text, end) == _DOT and _at(text, end + 1) in _DIGITS):
        return None
    return start, end


def ipv6(text: bytes, start: int, end: int) -> Span | None:
    """Whatever RFC 4291 calls an address, of at least two groups (`::1` tells nothing)."""
    while end > start and text[end - 1] in b".:" and text[end - 2 : end] != b"::":
        end -= 1
    if _before(text, start) in _WORD or _before(text, start) == 0x3A or _at(text, end) in _WORD:
        return None
    value = text[start:end].decode("ascii", "replace")
    if sum(bool(group) for group in value.split(":")) < 2:
        return None
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return None
    return start, end


def mac(text: bytes, start: int, end: int) -> Span | None:
    """Six pairs with one separator, or three groups of four with dots."""
    value = text[start:end]
    if len({byte for byte in value if byte not in _HEX}) != 1:
        return None
    separator = value[2] if value[2] not in _HEX else value[4]
    if not _stands_alone(text, start, end, _WORD):
        return None
    if _before(text, start) == separator or (_at(text, end) == separator and _at(text, end + 1) in _HEX):
        return None
    return start, end


# --- secrets ----------------------------------------------------------------------------------------------------------


def jwt(text: bytes, start: int, end: int) -> Span | None:
    """A JWS in compact form (RFC 7515): the header is JSON and names an algorithm."""
    header = text[start:end].split(b".", 1)[0]
    try:
        decoded = base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4))
    except (binascii.Error, ValueError):
        return None
    return (start, end) if b'"alg"' in decoded or b'"enc"' in decoded else None


def token(text: bytes, start: int, end: int) -> Span | None:
    """A token whose form is sure, unless it is the middle of a longer word."""
    return (start, end) if _stands_alone(text, start, end, _WORD) else None


_KEY_END = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")


def private_key(text: bytes, start: int, end: int) -> Span | None:
    """From the first line of a PEM private key (RFC 7468) to its last one; where that is missing, to the end."""
    closing = _KEY_END.search(text, end)
    return start, closing.end() if closing else len(text)


_AUTHORITY_ON = re.compile(rb"[^\s/?#\"'<>,{}@\x00]*@")
_HOST_AND_PORT = re.compile(rb"[^:]*:[0-9]{0,5}[/?#,\"'{}<>]")


def url_credentials(text: bytes, start: int, end: int) -> Span | None:
    """The user name and password of a URL (RFC 3986 userinfo; up to the last @ of it), without scheme and host."""
    begin = text.index(b"://", start, end) + 3
    if _HOST_AND_PORT.match(text, begin, end):
        return None  # host:port and something else, the @ is not the authority's
    while more := _AUTHORITY_ON.match(text, end):
        end = more.end()
    return begin, end - 1
