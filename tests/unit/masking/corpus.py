"""Generated cells with and without personal data: what precision and recall are measured on.

The negatives are the kinds that fool patterns: UUIDs, timestamps, order numbers, 16-digit ids, hashes, versions,
numbers that are no SSN, IBANs with wrong check digits, coordinates, prices, paths, code."""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    text: str
    value: str | None  # what must not be left over; None for a negative
    kind: str


_WORDS = ("order", "shipped to", "note:", "see", "customer", "=>", "(ref", "старый", "値", "and", "paid by", "contact")


def luhn_complete(prefix: str, length: int, chance: random.Random) -> str:
    digits = prefix + "".join(chance.choice(string.digits) for _ in range(length - len(prefix) - 1))
    total = sum(
        (int(d) * 2 - 9 if int(d) * 2 > 9 else int(d) * 2) if i % 2 == 0 else int(d)
        for i, d in enumerate(reversed(digits))
    )
    return digits + str(-total % 10)


def iban(country: str, length: int, chance: random.Random, *, wrong: bool = False) -> str:
    body = "".join(chance.choice(string.digits) for _ in range(length - 4))
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    check = 98 - number % 97
    return f"{country}{(check + 1) % 97 if wrong else check:02d}{body}"


def _grouped(text: str, size: int, separator: str) -> str:
    return separator.join(text[at : at + size] for at in range(0, len(text), size))


def _letters(chance: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(chance.choice(alphabet) for _ in range(count))


def _card(c: random.Random) -> str:
    prefix, length = c.choice([("4", 16), ("52", 16), ("2345", 16), ("37", 15), ("6011", 16), ("3530", 16), ("4", 13)])
    number = luhn_complete(prefix, length, c)
    return c.choice([number, _grouped(number, 4, " "), _grouped(number, 4, "-"), _grouped(number, 4, "\u00a0")])


def _ssn(c: random.Random) -> str:
    area = c.choice([1, 123, 457, 665, 667, 772, 899])
    return c.choice("-  –").join((f"{area:03d}", f"{c.randint(1, 99):02d}", f"{c.randint(1, 9999):04d}"))


def _email(c: random.Random) -> str:
    local = c.choice(["bob", "anna.b", "o'brien", "x+tag", "a_b-c", "jürgen", "n1"])
    return f"{local}@{c.choice(['example.com', 'mail.example.co.uk', 'xn--bcher-kva.example', 'a-b.io'])}"


def _iban(c: random.Random) -> str:
    country, length = c.choice([("DE", 22), ("NL", 18), ("FR", 27), ("NO", 15), ("PL", 28)])
    value = iban(country, length, c)
    return c.choice([value, _grouped(value, 4, " "), value.lower()])


def _phone(c: random.Random) -> str:
    a, b, n = c.randint(201, 989), c.randint(200, 999), c.randint(0, 9999)
    return c.choice(
        [f"({a}) {b}-{n:04d}", f"{a}-{b}-{n:04d}", f"+1 {a} {b} {n:04d}", f"+49 30 {n:04d}{b}", f"{a}.{b}.{n:04d}"]
    )


def _jwt(c: random.Random) -> str:
    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    header, claims = part(b'{"alg":"RS256","typ":"JWT"}'), part(b'{"sub":"%d"}' % c.randint(1, 9999))
    return f"{header}.{claims}.{_letters(c, 43)}"


POSITIVE: dict[str, Callable[[random.Random], str]] = {
    "email": _email,
    "credit_card": _card,
    "us_ssn": _ssn,
    "iban": _iban,
    "phone": _phone,
    "ipv4": lambda c: ".".join(str(c.randint(1, 255)) for _ in range(4)),
    "ipv6": lambda c: c.choice(
        [
            f"fe80::{c.randint(1, 65535):x}:{c.randint(1, 65535):x}",
            ":".join(f"{c.randint(0, 65535):x}" for _ in range(8)),
        ]
    ),
    "mac": lambda c: c.choice(":-").join(f"{c.randint(0, 255):02x}" for _ in range(6)),
    "jwt": _jwt,
    "aws_access_key": lambda c: "AKIA" + _letters(c, 16, string.ascii_uppercase + "234567"),
    "private_key": lambda c: (
        f"-----BEGIN {c.choice(['RSA ', 'EC ', 'OPENSSH ', 'ENCRYPTED ', ''])}PRIVATE KEY-----\n{_letters(c, 64)}\n"
        "-----END PRIVATE KEY-----"
    ),
    "github_token": lambda c: c.choice(["ghp_", "gho_", "ghs_"]) + _letters(c, 36),
    "url_credentials": lambda c: f"postgresql://app:{_letters(c, 12)}@db.internal:5432/x",
    "nino": lambda c: c.choice(["AB", "JK", "PR"]) + f"{c.randint(0, 999999):06d}" + c.choice("ABCD"),
}

NEGATIVE: dict[str, Callable[[random.Random], str]] = {
    "uuid": lambda c: str(uuid.UUID(int=c.getrandbits(128))),
    "timestamp": lambda c: (
        f"20{c.randint(10, 39)}-{c.randint(1, 12):02d}-{c.randint(1, 28):02d} "
        f"{c.randint(0, 23):02d}:{c.randint(0, 59):02d}:{c.randint(0, 59):02d}.{c.randint(0, 999999):06d}+00"
    ),
    "order number": lambda c: f"ORD-{c.randint(2020, 2029)}-{c.randint(0, 999999):06d}",
    "16-digit id": lambda c: str(c.randint(10**15, 10**16 - 1)),
    "hash": lambda c: f"{c.getrandbits(256):064x}",
    "version": lambda c: f"v{c.randint(0, 20)}.{c.randint(0, 99)}.{c.randint(0, 999)}",
    "no SSN": lambda c: f"{c.choice(['000', '666', '912'])}-{c.randint(1, 99):02d}-{c.randint(1, 9999):04d}",
    "wrong IBAN": lambda c: iban("DE", 22, c, wrong=True),
    "coordinates": lambda c: f"{c.uniform(-90, 90):.14f}, {c.uniform(-180, 180):.14f}",
    "price": lambda c: f"{c.randint(1, 99999)},{c.randint(0, 999):03d}.{c.randint(0, 99):02d} EUR",
    "path": lambda c: f"/var/lib/app/{_letters(c, 8)}/file_{c.randint(1, 999)}.tar.gz",
    "code": lambda c: c.choice(["std::dec << 0xff", "@dataclass", "a@b", "user@host", "foo::bar()", "x = y ? 1 : 2"]),
    "time": lambda c: f"{c.randint(0, 23):02d}:{c.randint(0, 59):02d}:{c.randint(0, 59):02d}",
    "plain text": lambda c: " ".join(c.choice(_WORDS) for _ in range(4)),
    "url": lambda c: f"https://example.com:8443/a/{c.randint(1, 9999)}?q={_letters(c, 6)}",
}


def samples(count: int, seed: int = 7) -> Iterator[Sample]:
    """`count` cells, 40 % of the positives inside other text."""
    chance = random.Random(seed)
    for index in range(count):
        if index % 4 == 0:
            kind = chance.choice(list(POSITIVE))
            value = POSITIVE[kind](chance)
            text = value
            if chance.random() < 0.4:
                text = f"{chance.choice(_WORDS)} {value} {chance.choice(_WORDS)}"
            yield Sample(text, value, kind)
        else:
            kind = chance.choice(list(NEGATIVE))
            yield Sample(NEGATIVE[kind](chance), None, kind)
