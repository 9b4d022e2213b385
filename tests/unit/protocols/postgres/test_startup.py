"""Startup packets: options split as PostgreSQL splits them, and noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.errors import ClientFault
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.startup import Startup


def of(**parameters: str) -> startup.Wishes:
    return startup.wishes(Startup(0, {"user": "tg_x", **parameters}))


@pytest.mark.parametrize(
    "options",
    [
        "-c search_path=a,b -c statement_timeout=5s",
        "-csearch_path=a,b --statement_timeout=5s",
        "  --search-path=a,b\t-c statement-timeout=5s ",
    ],
)
def test_options(options: str) -> None:
    assert of(options=options).settings == {"search_path": "a,b", "statement_timeout": "5s"}


def test_a_backslash_keeps_a_space() -> None:
    assert of(options=r"-c search_path=a,\ b\\c").settings == {"search_path": r"a, b\c"}


def test_own_options_are_taken_out() -> None:
    wishes = of(options="-c taskgate.wait=refuse", application_name="me", client_encoding="UTF8")
    assert (wishes.options, wishes.settings, wishes.application_name) == ({"wait": "refuse"}, {}, "me")


def test_database_defaults_to_the_user_as_in_postgresql() -> None:
    assert of().database == "tg_x"


@given(st.binary(max_size=120))
def test_noise_is_a_packet_or_a_fault(noise: bytes) -> None:
    packet = (len(noise) + 8).to_bytes(4, "big") + startup.PROTOCOL_3_0.to_bytes(4, "big") + noise
    try:
        decoded = startup.decode(packet)
        assert isinstance(decoded, Startup)
        startup.wishes(decoded)
    except ClientFault:
        return


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        max_size=5,
    )
)
def test_round_trip(parameters: dict[str, str]) -> None:
    packet = startup.startup_message(parameters)
    assert startup.packet_length(packet, 100_000) == len(packet)
    decoded = startup.decode(packet)
    assert isinstance(decoded, Startup)
    assert decoded.parameters == parameters


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=4, max_size=256))
def test_cancel_requests(process: int, secret: bytes) -> None:
    assert startup.decode(startup.cancel_request(process, secret)) == startup.CancelRequest(process, secret)
