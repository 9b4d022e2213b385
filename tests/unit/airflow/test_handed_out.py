from __future__ import annotations

import threading
import time

import pytest

from taskgate_airflow.handed_out import HandedOut, HandedOutConnections
from taskgate_airflow.mapping import MappedConnection, MappingError
from tests.unit.airflow.test_rewriting_postgres import issued


def _handed() -> HandedOut:
    return HandedOut.of(MappedConnection("orders-db"), issued())


def test_it_is_asked_for_once_until_it_nears_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    kept = HandedOutConnections()

    def ask() -> HandedOut:
        asked.append(1)
        return _handed()

    first = kept.get("ti", "orders_db", ask)
    assert kept.get("ti", "orders_db", ask) is first
    assert kept.find("ti", "other") is None
    monkeypatch.setattr("taskgate_airflow.handed_out.time.monotonic", lambda: first.renew_at)
    assert kept.find("ti", "orders_db") is None
    kept.get("ti", "orders_db", ask)
    assert len(asked) == 2


def test_what_an_attempt_was_given_is_forgotten_and_nobody_elses() -> None:
    kept = HandedOutConnections()
    first, other = kept.get("ti", "orders_db", _handed), kept.get("ti-2", "orders_db", _handed)
    kept.get("ti", "shop_db", _handed)
    kept.forget("ti")
    assert kept.find("ti", "orders_db") is None
    assert kept.find("ti", "shop_db") is None
    assert kept.find("ti-2", "orders_db") is other
    assert kept.get("ti", "orders_db", _handed) is not first


def test_the_margin_of_a_short_life_is_a_tenth() -> None:
    at = issued().issued_at
    handed = HandedOut.of(MappedConnection("orders-db"), issued(expires_at=at.replace(year=at.year + 1)))
    assert handed.renew_at - time.monotonic() == pytest.approx(300, abs=1)  # whatever its own clock makes of it
    short = HandedOut.of(
        MappedConnection("orders-db"), issued(issued_at="2026-01-01T00:00:00Z", expires_at="2026-01-01T00:00:10Z")
    )
    assert short.renew_at - time.monotonic() == pytest.approx(9, abs=0.5)


def test_what_a_callback_got_is_not_kept_past_its_confinement() -> None:
    until = {"issued_at": "2026-01-01T00:00:00Z", "confined_until": "2026-01-01T00:01:40Z"}
    handed = HandedOut.of(MappedConnection("orders-db"), issued(expires_at="2026-01-01T08:00:00Z", **until))
    assert handed.renew_at - time.monotonic() == pytest.approx(90, abs=0.5)


def test_what_was_given_before_the_end_is_not_kept_past_the_callbacks_time() -> None:
    kept = HandedOutConnections()
    for attempt in ("ti", "ti-2"):
        kept.get(attempt, "orders_db", _handed)
    kept.ending("ti")
    ended, other = kept.find("ti", "orders_db"), kept.find("ti-2", "orders_db")
    assert ended is not None
    assert other is not None
    assert ended.renew_at - time.monotonic() == pytest.approx(60, abs=0.5)
    assert other.renew_at - time.monotonic() > 250
    kept.ending("ti")
    again = kept.find("ti", "orders_db")
    assert again is not None
    assert again.renew_at == ended.renew_at


def test_a_failure_is_the_askers_and_is_not_kept() -> None:
    kept = HandedOutConnections()
    with pytest.raises(ZeroDivisionError):
        kept.get("ti", "orders_db", lambda: 1 // 0)  # type: ignore[return-value]
    assert kept.get("ti", "orders_db", _handed).credential_id == "tg_1"


def test_threads_that_want_the_same_ask_once() -> None:
    kept, asked = HandedOutConnections(), []

    def slowly() -> HandedOut:
        asked.append(1)
        time.sleep(0.1)
        return _handed()

    threads = [threading.Thread(target=lambda: kept.get("ti", "orders_db", slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(asked) == 1
    assert kept._asking == {}


def test_threads_that_want_different_ones_do_not_wait_for_each_other() -> None:
    kept, both = HandedOutConnections(), threading.Barrier(2, timeout=5)

    def meeting() -> HandedOut:
        both.wait()
        return _handed()

    threads = [threading.Thread(target=lambda ti=ti: kept.get(ti, "orders_db", meeting)) for ti in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert kept.find("a", "orders_db")
    assert kept.find("b", "orders_db")


def test_the_longest_unused_are_forgotten() -> None:
    kept = HandedOutConnections(most=2)
    for ti in ("a", "b"):
        kept.get(ti, "orders_db", _handed)
    kept.find("a", "orders_db")
    kept.get("c", "orders_db", _handed)
    assert kept.find("b", "orders_db") is None
    assert kept.find("a", "orders_db")
    assert len(kept.take_all()) == 2
    assert kept.take_all() == []


def test_a_stored_connections_type_must_be_the_targets() -> None:
    with pytest.raises(MappingError, match="speaks ssh, and the connection is for postgres"):
        HandedOut.of(MappedConnection("web-1", protocol="postgres"), issued("ssh"))


def test_no_repr_holds_the_secret() -> None:
    assert "s3cret" not in repr(_handed())
