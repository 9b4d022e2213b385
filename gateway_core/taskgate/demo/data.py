"""The demo's database: generated customers and orders, and the two roles the gateway uses. The same at every run.

Cards pass the Luhn check, SSNs follow the rules of real ones, nobody in it exists (example.org addresses).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg

from taskgate.demo.postgres_server import PostgresServer

DATABASE = "shop"
APP_ROLE = "taskgate_app"
CATALOG_ROLE = "taskgate_catalog"

_FIRST = (
    "Ada Alan Barbara Claude Donald Edsger Frances Grace Hedy Joan Katherine Ken Leslie Margaret Niklaus Radia".split()
)
_LAST = (
    "Allen Bartik Clarke Dijkstra Engelbart Floyd Goldberg Hopper Iverson Johnson Knuth Lamarr Milner Perlman".split()
)
_CITIES = "Amsterdam Berlin Lisbon London Madrid Oslo Paris Prague Rome Vienna".split()
_STATUSES = ["open", "paid", "shipped", "cancelled"]

_SCHEMA = """
create table public.customers (
    id bigint primary key, name text not null, email text not null, card text not null, ssn text not null, city text
);
create table public.orders (
    id bigint primary key, customer_id bigint not null references public.customers,
    amount numeric(10, 2) not null, status text not null, created_at timestamptz not null
);
"""


def card_number(random_: random.Random) -> str:
    """A 16-digit number with a Visa prefix that passes the Luhn check (ISO/IEC 7812-1, annex B)."""
    digits = [4, *(random_.randrange(10) for _ in range(14))]
    total = 0
    for position, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if position % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return "".join(map(str, digits)) + str(-total % 10)


def ssn(random_: random.Random) -> str:
    area = random_.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03}-{random_.randrange(1, 100):02}-{random_.randrange(1, 10000):04}"


def customers(count: int, seed: int = 7) -> Iterator[tuple[int, str, str, str, str, str]]:
    """(id, name, email, card, ssn, city), `count` of them."""
    random_ = random.Random(seed)  # noqa: S311 - demo data, the same every time
    for number in range(1, count + 1):
        first, last = random_.choice(_FIRST), random_.choice(_LAST)
        email = f"{first}.{last}{number}@example.org".lower()
        yield number, f"{first} {last}", email, card_number(random_), ssn(random_), random_.choice(_CITIES)


def orders(count: int, customer_count: int, seed: int = 7) -> Iterator[tuple[int, int, Decimal, str, datetime]]:
    """(id, customer_id, amount, status, created_at), spread over two years; every fifth is cancelled at most."""
    random_ = random.Random(seed)  # noqa: S311 - demo data, the same every time
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for number in range(1, count + 1):
        created = start + timedelta(minutes=random_.randrange(2 * 365 * 24 * 60))
        amount = Decimal(random_.randrange(500, 50_000)) / 100
        yield number, random_.randrange(1, customer_count + 1), amount, random_.choice(_STATUSES), created


async def fill(
    server: PostgresServer,
    app_password: str,
    catalog_password: str,
    *,
    customer_count: int = 200,
    order_count: int = 1000,
) -> None:
    """Create database, roles, tables and rows. The application role may read and write the two tables and no more; the
    catalogue role has no privilege on them at all."""
    admin = await asyncpg.connect(server.dsn())
    try:
        for role, password in ((APP_ROLE, app_password), (CATALOG_ROLE, catalog_password)):
            await admin.execute(f"create role {role} login password {_quoted(password)}")
        await admin.execute(f"create database {DATABASE}")
    finally:
        await admin.close()
    shop = await asyncpg.connect(server.dsn(DATABASE))
    try:
        await shop.execute(_SCHEMA)
        await shop.copy_records_to_table("customers", records=customers(customer_count))
        await shop.copy_records_to_table("orders", records=orders(order_count, customer_count))
        await shop.execute(f"grant select, insert, update, delete on public.customers, public.orders to {APP_ROLE}")
        await shop.execute("analyze public.customers, public.orders")
    finally:
        await shop.close()


def _quoted(literal: str) -> str:
    return "'" + literal.replace("'", "''") + "'"
