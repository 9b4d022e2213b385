from __future__ import annotations

from taskgate_airflow.refusal_reasons import RefusalReasons, asked_for, reason_key


def test_the_last_reason_of_an_attempt_and_connection() -> None:
    reasons = RefusalReasons()
    reasons.keep("a", "orders_db", "first")
    reasons.keep("a", "orders_db", "second")
    assert reasons.find("a", "orders_db") == "second"
    assert reasons.find("b", "orders_db") is None
    assert reasons.find("a", "other_db") is None


def test_only_so_many_are_kept() -> None:
    reasons = RefusalReasons(most=2)
    for attempt in ("a", "b", "a", "c"):
        reasons.keep(attempt, "orders_db", "no")
    assert reasons.find("b", "orders_db") is None
    assert reasons.find("a", "orders_db") == reasons.find("c", "orders_db") == "no"


def test_a_variable_asks_for_one_connections() -> None:
    assert asked_for(reason_key("orders_db")) == "orders_db"
    assert asked_for("orders_db") is None
