from __future__ import annotations

import pytest

from taskgate_dashboard.effects import colour, summary


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("sql.select public.customers", "blue"),
        ("sql.delete public.orders", "red"),
        ("sql.unknown", "red"),
        ("sql.insert public.orders", "amber"),
        ("something.new x", "amber"),
    ],
)
def test_colours(pair: str, expected: str) -> None:
    assert colour(pair) == expected


def test_the_worst_comes_first() -> None:
    assert summary(["sql.select public.orders", "sql.delete public.orders"]) == "DELETE on public.orders (+1)"
    assert summary(["sql.copy_in public.orders"]) == "COPY IN on public.orders"
    assert summary(["sql.transaction"]) == "TRANSACTION"
    assert summary([]) == "an action without effects"
