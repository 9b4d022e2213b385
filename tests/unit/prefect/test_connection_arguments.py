from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from taskgate.client import IssuedCredential
from taskgate.client.models import Principal
from taskgate.domain import Assurance, PrincipalKind
from taskgate_prefect.connection_arguments import asyncpg, check, libpq


def issued(host: str = "127.0.0.1") -> IssuedCredential:
    return IssuedCredential(
        id="tg_1", user="tg_1", password=SecretStr("s3cret"), target="orders-db", protocol="postgresql", host=host,
        port=6432, database="orders-db", dsn=SecretStr("postgresql://"),
        principal=Principal(
            kind=PrincipalKind.TASK, name="f.t", source="p", assurance=Assurance.ASSERTED, verified_by="key"
        ),
        issued_at=datetime.now(UTC), expires_at=datetime.now(UTC),
    )  # fmt: skip


def test_libpq_gets_the_credential_and_how_to_wait() -> None:
    arguments = libpq(issued(), "refuse", None, {"connect_timeout": 3})
    assert arguments == {
        "connect_timeout": 3, "sslmode": "prefer", "host": "127.0.0.1", "port": 6432, "user": "tg_1",
        "password": "s3cret", "dbname": "orders-db", "options": "-ctaskgate.wait=refuse",
    }  # fmt: skip


def test_own_options_stay() -> None:
    arguments = libpq(issued(), "hold", None, {"options": "-c statement_timeout=5"})
    assert arguments["options"] == "-c statement_timeout=5 -ctaskgate.wait=hold"
    given = {"server_settings": {"statement_timeout": "5"}}
    assert asyncpg(issued(), "hold", None, given)["server_settings"] == {
        "statement_timeout": "5",
        "taskgate.wait": "hold",
    }
    assert given == {"server_settings": {"statement_timeout": "5"}}


def test_off_loopback_the_gateway_is_verified() -> None:
    assert libpq(issued("gw.example"), "refuse", None, {})["sslmode"] == "verify-full"
    context = asyncpg(issued("gw.example"), "refuse", None, {})["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_certificates_of_ones_own_mean_verification_everywhere() -> None:
    arguments = libpq(issued(), "refuse", "/ca.pem", {})
    assert (arguments["sslmode"], arguments["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert libpq(issued(), "refuse", "/ca.pem", {"sslrootcert": "/other.pem"})["sslrootcert"] == "/other.pem"


def test_what_is_said_of_tls_counts() -> None:
    assert libpq(issued("gw.example"), "refuse", None, {"sslmode": "require"})["sslmode"] == "require"
    assert asyncpg(issued("gw.example"), "refuse", None, {"ssl": "require"})["ssl"] == "require"


@pytest.mark.parametrize(
    "name", ["host", "hostaddr", "port", "user", "password", "dbname", "database", "dsn", "service"]
)
def test_nothing_leads_around_the_gateway(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check({name: "x"})


@pytest.mark.parametrize(
    "connect_args",
    [
        {"options": "-ctaskgate.wait=hold"},
        {"options": "-c TASKGATE.wait=hold"},
        {"server_settings": {"taskgate.wait": "hold"}},
    ],
)
def test_how_it_waits_is_the_blocks_to_say(connect_args: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="taskgate"):
        check(connect_args)


def test_anything_else_passes() -> None:
    check({"connect_timeout": 3, "options": "-c statement_timeout=1", "sslmode": "verify-full"})
